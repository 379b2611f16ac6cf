// Files that are dropped on the conversation.

import { t } from "./i18n.js";

/** Give what is dropped on `place` to whoever takes it now: `taker()` answers with a composer, or null. */
export function takeDrops(place, taker, signal) {
  place.dataset.drop = t("talk.drop");
  const hasFiles = (event) => taker() && event.dataTransfer?.types.includes("Files");
  const over = (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    place.classList.add("is-dropping");
  };
  const end = (event) => {
    if (event.type === "dragleave" && place.contains(event.relatedTarget)) return;
    place.classList.remove("is-dropping");
    if (event.type !== "drop" || !hasFiles(event)) return;
    event.preventDefault();
    taker().take([...event.dataTransfer.files]);
  };
  place.addEventListener("dragover", over, { signal });
  place.addEventListener("dragleave", end, { signal });
  place.addEventListener("drop", end, { signal });
}
