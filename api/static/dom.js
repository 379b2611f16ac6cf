// Elements without innerHTML: whatever a person or a model wrote becomes text.

/**
 * Build an element. Attributes: `on…` listens, `class`, `dataset`, true is a bare attribute, null and false are left out.
 * Children: nodes and text; null and false are left out, arrays are opened.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Put other children into an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Make an element hold what another does, and leave alone what it holds already: a selection stays, and the focus. */
export function become(element, other) {
  const [held, wanted] = [[...element.childNodes], [...other.childNodes]];
  for (const [at, node] of wanted.entries()) {
    const old = held[at];
    if (!old) element.append(node);
    else if (old.isEqualNode(node)) continue;
    else if (old instanceof Text && node.data?.startsWith(old.data)) old.appendData(node.data.slice(old.length));
    else if (old instanceof Element && old.cloneNode().isEqualNode(node.cloneNode())) become(old, node);
    else old.replaceWith(node);
  }
  for (const old of held.slice(wanted.length)) old.remove();
}

let ids = 0;

/** An id that no other element has. */
export function newId(prefix = "id") {
  ids += 1;
  return `${prefix}-${ids}`;
}
