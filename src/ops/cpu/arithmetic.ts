/** What several verbs compute with: plain loops that accumulate in f64 and store f32. */

import type { Activation } from "../ops.ts";

/** An activation as a function. */
export function activate(activation: Activation): (z: number) => number {
  switch (activation.kind) {
    case "silu":
      return (z) => z / (1 + Math.exp(-z));
    default:
      return activation.kind satisfies never;
  }
}

/**
 * y[t] = matrix x[t] for each of `rows` rows of x and y; matrix [height, columns] row-major. A row of
 * the matrix meets all rows of x before the next is read from memory.
 */
export function multiply(matrix: Float32Array, x: Float32Array, y: Float32Array, rows: number): void {
  const [columns, height] = [x.length / rows, y.length / rows];
  for (let row = 0; row < height; row++)
    for (let t = 0; t < rows; t++) {
      let sum = 0;
      for (let i = 0, at = row * columns, from = t * columns; i < columns; i++) sum += matrix[at + i]! * x[from + i]!;
      y[t * height + row] = sum;
    }
}

/** In place; maximum subtracted. */
export function softmax(values: Float64Array): Float64Array {
  let largest = -Infinity;
  for (const value of values) largest = Math.max(largest, value);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] = Math.exp(values[i]! - largest);
  for (let i = 0; i < values.length; i++) values[i]! /= sum;
  return values;
}

/** The `count` largest, best first; ties to the lowest index. */
export function topOf(values: Float32Array, count: number): number[] {
  return Array.from(values.keys())
    .sort((a, b) => values[b]! - values[a]! || a - b)
    .slice(0, count);
}
