/** Texts without which no model opens. All others are optional: a model may well lack them. */
const REQUIRED: readonly string[] = ["config.json", "tokenizer.json"];

/** Whether a model may be without a text: index, template and settings. */
export const isOptional = (file: string): boolean => !REQUIRED.includes(file);
