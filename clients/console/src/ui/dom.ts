/** What may stand in an element. Text becomes text nodes and nothing else, wherever it comes from. */
export type Child = Node | string | number | null | undefined | false;

export interface Props {
  class?: string | undefined;
  on?: { [Name in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Name]) => void };
  /** Attributes: `true` is an empty one, `false` and `undefined` none. */
  [attribute: string]: unknown;
}

/** Makes an HTML element. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  const { on = {}, ...attributes } = props;
  setAll(element, attributes);
  for (const [name, listener] of Object.entries(on)) {
    element.addEventListener(name, listener as EventListener);
  }
  put(element, ...children);
  return element;
}

/** Makes an SVG element. */
export function s<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Record<string, unknown> = {},
  ...children: Child[]
): SVGElementTagNameMap[Tag] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAll(element, attributes);
  put(element, ...children);
  return element;
}

/** Adds children; nothing for those that are none. */
export function put(parent: Element, ...children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}

/** Puts these in the place of what was there. */
export function fill(parent: Element, ...children: Child[]): void {
  parent.replaceChildren();
  put(parent, ...children);
}

/** Changes the text of an element if it is another one. */
export function say(element: Element, text: string): void {
  const only = element.firstChild;
  // Another text in the same node is laid out sooner than another node.
  if (only instanceof Text && !only.nextSibling) {
    if (only.data !== text) only.data = text;
  } else if (element.textContent !== text) {
    element.textContent = text;
  }
}

/** Changes an attribute if it is another one; `undefined` takes it away. */
export function mark(element: Element, name: string, value: string | undefined): void {
  if (value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Something for those alone who hear the page. */
export function hidden(text: string): HTMLElement {
  return h("span", { class: "sr" }, text);
}

let ids = 0;

/** An id that no other element has. */
export function uid(stem: string): string {
  ids += 1;
  return `${stem}-${ids}`;
}

function setAll(element: Element, attributes: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false || value === null) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
}
