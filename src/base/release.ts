/**
 * Gives the memory of an array back at once, where the platform can (ES2024): what is left to the
 * garbage collector counts as heap until it comes round, and records pass through by the thousand.
 * Nobody may use the array, or another on its buffer, any more.
 */
export function release({ buffer }: Uint8Array<ArrayBuffer>): void {
  const { transfer } = buffer as { transfer?: (this: ArrayBuffer, bytes: number) => ArrayBuffer };
  transfer?.call(buffer, 0);
}
