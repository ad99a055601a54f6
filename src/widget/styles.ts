import chat from "./chat.css?inline";
import palette from "./palette.css?inline";

let shared: CSSStyleSheet | undefined;

/**
 * The element's styles, as one sheet for all instances. They are not in a <style> element, because
 * a page's content security policy may forbid that.
 */
export function styleSheet(): CSSStyleSheet {
  if (!shared) {
    shared = new CSSStyleSheet();
    shared.replaceSync(palette + chat);
  }
  return shared;
}
