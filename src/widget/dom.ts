/** An HTML element with attributes and children; strings become text nodes, never HTML. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/**
 * A button with `type="button"`, so that it does not submit a form. `part` lets a page style it
 * from outside.
 */
export function button(label: string, part: string, onClick: () => void): HTMLButtonElement {
  const node = h("button", { type: "button", class: part, part }, label);
  node.addEventListener("click", onClick);
  return node;
}

/**
 * A row of eight dots, for experts, of which two are lit at a time: the sign that the model is at
 * work.
 */
export function workingDots(): HTMLElement {
  const dots = Array.from({ length: 8 }, () => h("i"));
  return h("span", { class: "dots", "aria-hidden": "true" }, ...dots);
}
