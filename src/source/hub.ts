import { MixtabError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";

const HUB = "https://huggingface.co";
/**
 * `owner/name`, and perhaps `@revision`: a branch, tag or commit, which may hold slashes
 * (refs/pr/1).
 */
const REPOSITORY = /^(\w[\w.-]*\/\w[\w.-]*)(?:@(\w[\w./-]*))?$/;

/**
 * The URL of a model's folder, ending in a slash: a URL as it is; `owner/name[@revision]` on the
 * Hugging Face Hub; `./x`, `../x` and `/x` relative to `pageUrl`. Errors: bad-request.
 */
export function resolveModel(reference: string, pageUrl?: string): string {
  const name = reference.trim();
  if (/^[a-z][a-z\d+.-]*:/i.test(name)) return folder(name, undefined);
  if (/^\.{0,2}\//.test(name)) return folder(name, pageUrl);
  const [, repository, revision = "main"] = REPOSITORY.exec(name) ?? [];
  if (repository) return `${HUB}/${repository}/resolve/${encodeURIComponent(revision)}/`;
  throw bad(reference);
}

function folder(reference: string, pageUrl: string | undefined): string {
  if (!URL.canParse(reference, pageUrl)) throw bad(reference);
  const url = new URL(reference, pageUrl);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw bad(reference);
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  url.hash = "";
  return url.href;
}

function bad(reference: string): MixtabError {
  return new MixtabError(
    "bad-request",
    `${quote(reference)} names no model. Give the URL of a folder (http or https; relative ones only in a page), or owner/name of a Hugging Face repository.`,
  );
}
