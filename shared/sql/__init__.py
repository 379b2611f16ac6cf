"""The database: engines, transactions, and what the two databases spell differently."""
