// A small virtual DOM. All text becomes text nodes or attributes, never markup.

// Describe an element. Properties that begin with "on" are listeners, `key` tells siblings apart.
export function h(tag, props, ...kids) {
  const shown = kids.flat(Infinity).filter((kid) => kid !== null && kid !== undefined && kid !== false);
  return { tag, props: props || {}, kids: shown.map((kid) => (kid.tag ? kid : { text: String(kid) })) };
}

// Make the children of `parent` what `kids` describe, with as few changes as possible.
export function render(parent, ...kids) {
  const wanted = h("", null, ...kids).kids;
  patchKids(parent, parent.shown || [], wanted);
  parent.shown = wanted;
}

function patchKids(parent, before, after) {
  const keyed = new Map(before.filter((old) => old.props?.key).map((old) => [old.props.key, old]));
  const rest = before.filter((old) => !old.props?.key);
  for (const [place, kid] of after.entries()) {
    const key = kid.props?.key;
    const at = key ? -1 : rest.findIndex((old) => old.tag === kid.tag);
    const old = key ? keyed.get(key) : at < 0 ? undefined : rest.splice(at, 1)[0];
    if (key) keyed.delete(key);
    if (old && old.tag === kid.tag) patch(old, kid);
    else create(kid);
    if (parent.childNodes[place] !== kid.node) parent.insertBefore(kid.node, parent.childNodes[place] || null);
  }
  while (parent.childNodes.length > after.length) parent.lastChild.remove();
}

function create(kid) {
  if (!kid.tag) {
    kid.node = document.createTextNode(kid.text);
    return;
  }
  kid.node = document.createElement(kid.tag);
  patchKids(kid.node, [], kid.kids);
  for (const name of Object.keys(kid.props)) set(kid.node, name, kid.props[name]);
}

function patch(old, kid) {
  kid.node = old.node;
  if (!kid.tag) {
    if (old.text !== kid.text) kid.node.data = kid.text;
    return;
  }
  patchKids(kid.node, old.kids, kid.kids);
  for (const name of Object.keys(old.props)) if (!(name in kid.props)) set(kid.node, name, null);
  for (const name of Object.keys(kid.props)) {
    if (old.props[name] !== kid.props[name] || name === "style") set(kid.node, name, kid.props[name]);
  }
}

function set(node, name, value) {
  if (name === "key") return;
  if (name.startsWith("on")) node[name] = value;
  else if (name === "style") for (const [property, text] of Object.entries(value || {})) node.style.setProperty(property, text);
  else if (name === "value" || name === "checked" || name === "selected") node[name] = value ?? "";
  else if (name === "href" && !value?.startsWith("#")) node.removeAttribute("href");
  else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}

// Tell a screen reader, and nobody else.
export function say(text) {
  document.getElementById("said").textContent = text;
}
