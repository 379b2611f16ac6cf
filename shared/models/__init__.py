"""Every table, so that importing this package fills the metadata."""

from shared.models.agent import Agent, AgentBase
from shared.models.api_key import ApiKey, Scope
from shared.models.blob import Blob, BlobPurpose, BlobStatus
from shared.models.idempotency import IdempotencyKey
from shared.models.job import (
    POISON_LEASES,
    TRANSITIONS,
    UNFINISHED,
    Job,
    JobStatus,
    NewJob,
    Step,
    StepStatus,
    is_unfinished,
    is_waiting,
)
from shared.models.login import Login
from shared.models.message import Message, MessageKind, MessageRole, NewMessage
from shared.models.row import defaults, table
from shared.models.session import Session, SessionBase
from shared.models.usage import Usage
from shared.models.user import LOCAL_USER_ID, User, Username, UserRole
from shared.models.worker import Worker

__all__ = [
    "LOCAL_USER_ID",
    "POISON_LEASES",
    "TRANSITIONS",
    "UNFINISHED",
    "Agent",
    "AgentBase",
    "ApiKey",
    "Blob",
    "BlobPurpose",
    "BlobStatus",
    "IdempotencyKey",
    "Job",
    "JobStatus",
    "Login",
    "Message",
    "MessageKind",
    "MessageRole",
    "NewJob",
    "NewMessage",
    "Scope",
    "Session",
    "SessionBase",
    "Step",
    "StepStatus",
    "Usage",
    "User",
    "UserRole",
    "Username",
    "Worker",
    "defaults",
    "is_unfinished",
    "is_waiting",
    "table",
]
