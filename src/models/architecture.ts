import type { Builder, Speech } from "../layers/builder.ts";
import type { Config } from "./config.ts";

/**
 * What a config.json describes: a few sizes, shown to people and used to plan memory, and the model
 * itself.
 */
export interface Model {
  /** D. */
  readonly width: number;
  /** V. */
  readonly vocabulary: number;
  readonly layers: number;
  /** The longest context that the model was made for. */
  readonly positions: number;
  /** Why that is less than config.json says, where it is. */
  readonly limit?: string;
  /** Called twice: see `layers/builder.ts`. */
  build(m: Builder): Speech;
}

/** One file per `model_type`: config keys, weight names with shapes, wiring. */
export interface Architecture {
  readonly modelType: string;
  /** Errors: bad-config. */
  read(config: Config): Model;
}
