// What can be done to agents and conversations from where they are listed.

import { confirmDialog, dialogForm, field, openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { toast } from "./notices.js";

/** Ask what an agent is; null makes a new one. Seldom wanted, so it is loaded when it is. */
export async function editAgent(library, agent) {
  const { agentDialog } = await import("./agent_dialog.js");
  return agentDialog(library, agent);
}

/** Ask for a conversation's name. */
export function renameSession(library, session) {
  const name = h("input", { type: "text", value: session.name, maxlength: "200", dir: "auto", autocomplete: "off" });
  const save = () => library.renameSession(session.id, name.value.trim());
  return openDialog(t("session.rename_title"), (close) =>
    dialogForm(close, { action: t("app.save"), save }, field("name", t("session.name"), name)),
  );
}

/** Delete a conversation, once that is confirmed. */
export async function deleteSession(library, session) {
  const text = t("session.delete_what", { name: session.name || t("side.untitled") });
  const save = () => library.deleteSession(session.id);
  if (await confirmDialog({ title: t("session.delete_title"), text, action: t("app.delete"), save })) toast(t("session.deleted"));
}

/** Delete an agent, once that is confirmed. */
export async function deleteAgent(library, agent) {
  const text = t("agent.delete_what", { name: agent.name });
  const save = () => library.deleteAgent(agent.id);
  if (await confirmDialog({ title: t("agent.delete_title"), text, action: t("app.delete"), save })) toast(t("agent.deleted"));
}
