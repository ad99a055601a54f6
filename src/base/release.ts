/**
 * Gives an array's memory back at once, where the platform can (ES2024's ArrayBuffer.transfer).
 * Otherwise the memory counts as heap until the garbage collector runs, and thousands of records
 * pass through the heap one after the other. After the call nobody may use the array, nor another
 * array on the same buffer.
 */
export function release({ buffer }: Uint8Array<ArrayBuffer>): void {
  const { transfer } = buffer as { transfer?: (this: ArrayBuffer, bytes: number) => ArrayBuffer };
  transfer?.call(buffer, 0);
}
