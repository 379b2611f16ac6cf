// What all tabs have to agree on at once: what one writes to localStorage, another may see a moment later only.

const NAME = "parley";
const STORE = "login";

let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Run `act(value)` on what is kept under a key, alone in all tabs; with "readwrite" its answer is kept. */
async function change(key, mode, act) {
  const transaction = (await open()).transaction(STORE, mode);
  const store = transaction.objectStore(STORE);
  return new Promise((resolve, reject) => {
    let answer;
    const request = store.get(key);
    request.onsuccess = () => {
      answer = act(request.result);
      if (mode === "readwrite") store.put(answer, key);
    };
    transaction.oncomplete = () => resolve(answer);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** What is kept under a key; undefined when nothing is, or this browser keeps nothing. */
export function look(key) {
  return change(key, "readonly", (value) => value).catch(() => undefined);
}

/** Keep a value. */
export function put(key, value) {
  return change(key, "readwrite", () => value).catch(() => undefined);
}

/** Take a lease until a moment, unless another has one that lasts; whether it was taken. `mine` is a name for it. */
export async function lease(mine, until) {
  const isOver = (held) => !held || held.until < Date.now();
  const taken = (held) => (isOver(held) ? { mine, until } : held);
  try {
    return (await change("lease", "readwrite", taken)).mine === mine;
  } catch {
    return true; // nobody to agree with
  }
}
