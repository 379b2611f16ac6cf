// What this browser keeps: JSON in localStorage, or for this page's life where that is closed to us.

const memory = new Map();

/** What is kept under a name, or `otherwise`. */
export function read(name, otherwise = null) {
  try {
    return JSON.parse(localStorage.getItem(`parley.${name}`)) ?? otherwise;
  } catch {
    return memory.get(name) ?? otherwise;
  }
}

/** Keep a value; null forgets it. */
export function write(name, value) {
  memory.set(name, value);
  try {
    if (value === null) localStorage.removeItem(`parley.${name}`);
    else localStorage.setItem(`parley.${name}`, JSON.stringify(value));
  } catch {
    // closed, or full: the page works on without it
  }
}

/** Forget what belongs to whoever was signed in; settings stay, tokens are kept by tokens.js. */
export function forgetPerson() {
  for (const name of ["last", "unsent", "drafts", "person"]) write(name, null);
}

/** Whether what is kept may be shown to this user: it is forgotten if it is another's. From now on it is theirs. */
export function belongsTo(userId) {
  const isAnothers = ![null, userId].includes(read("person"));
  if (isAnothers) forgetPerson();
  write("person", userId);
  return !isAnothers;
}

/** Call `listener` when another tab keeps something else under a name. */
export function onOtherTab(name, listener) {
  addEventListener("storage", (event) => {
    if (event.key === `parley.${name}`) listener(read(name));
  });
}
