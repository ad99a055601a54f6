/**
 * Whether everything is tested, as `npm run test:all` does, and not only what fits the quarter of an
 * hour of `npm test`. In a browser Vitest passes it on.
 */
export const ALL = Boolean(globalThis.process?.env.MIXTAB_ALL ?? import.meta.env?.MIXTAB_ALL);
