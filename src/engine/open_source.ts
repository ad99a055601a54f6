import { givenFiles } from "../source/given_files.ts";
import { httpSource } from "../source/http.ts";
import { resolveModel } from "../source/hub.ts";
import type { ModelReference } from "./api.ts";
import type { Host } from "./engine.ts";

/**
 * Where a model's bytes come from. `page`: what relative URLs are relative to. Errors: bad-request.
 */
export function openSource(model: ModelReference, page?: string): Host {
  if (typeof model !== "string") return { id: "memory", source: givenFiles(model) };
  const url = resolveModel(model, page);
  return { id: model, source: httpSource(url) };
}
