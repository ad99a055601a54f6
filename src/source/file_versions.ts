import { MixtabError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";

/** What an answer shows of a file's identity; CORS hides ETag from most pages of other origins. */
export interface Version {
  readonly etag?: string | undefined;
  readonly modified?: string | undefined;
  /** The file's length in bytes. */
  readonly total?: number | undefined;
}

/** The version of a model's files. */
export interface Versions {
  /** On the Hub, the commit, which says it all. */
  readonly commit?: string | undefined;
  readonly files: Readonly<Record<string, Version>>;
}

const NAMES = { etag: "ETag", modified: "Last-Modified", total: "length" } as const;

/**
 * The identity of each file that was read: bytes of two versions must never come together. There is
 * no If-Range, which servers of other origins refuse by preflight.
 */
export class FileVersions {
  private readonly known = new Map<string, Version>();
  private commit: string | undefined;

  /** Whatever the file's earlier answers showed. */
  of(file: string): Version {
    return this.known.get(file) ?? {};
  }

  /** Of these files, what is known. */
  ofAll(files: readonly string[]): Versions {
    const { commit } = this;
    return commit ? { commit, files: {} } : { files: Object.fromEntries(files.map((file) => [file, this.of(file)])) };
  }

  /** From now on only these versions are right, which were read before. */
  expect({ commit, files }: Versions): void {
    this.commit = commit;
    for (const [file, version] of Object.entries(files)) this.known.set(file, version);
  }

  /** Compares the commit that an answer is of with the first. Errors: changed. */
  checkCommit(commit: string): void {
    this.commit ??= commit;
    if (commit !== this.commit) throw changed("The repository", `it was at commit ${this.commit}, and is at ${commit}`);
  }

  /**
   * Compares what an answer shows with what earlier ones did, and remembers what is new. Errors:
   * changed.
   */
  check(file: string, shown: Version): void {
    const first = this.of(file);
    for (const part of ["etag", "modified", "total"] as const) {
      const [was, is] = [first[part], shown[part]];
      if (was !== undefined && is !== undefined && was !== is)
        throw changed(file, `its ${NAMES[part]} was ${quote(was)}, and is ${quote(is)}`);
    }
    this.known.set(file, {
      etag: first.etag ?? shown.etag,
      modified: first.modified ?? shown.modified,
      total: first.total ?? shown.total,
    });
  }
}

/** What an answer shows; `total` is read from its range, or by HEAD. */
export const versionOf = ({ headers }: Response, total: number | undefined): Version => ({
  // Weak or strong, as a proxy may weaken it on the way.
  etag: headers.get("ETag")?.replace(/^W\//, ""),
  modified: headers.get("Last-Modified") ?? undefined,
  total,
});

export function changed(file: string, how: string): MixtabError {
  return new MixtabError(
    "changed",
    `${file} changed on the server while it was read: ${how}. Load the model again; what was read before is not mixed with it.`,
  );
}
