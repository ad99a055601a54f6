import chat from "./chat.css?inline";
import palette from "./palette.css?inline";

let shared: CSSStyleSheet | undefined;

/**
 * The element's styles, one sheet for all instances: not a <style>, which a page's content security
 * policy may refuse.
 */
export function styleSheet(): CSSStyleSheet {
  if (!shared) {
    shared = new CSSStyleSheet();
    shared.replaceSync(palette + chat);
  }
  return shared;
}
