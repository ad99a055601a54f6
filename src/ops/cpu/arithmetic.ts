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

/** y = matrix x; matrix [y, x] row-major. */
export function multiply(matrix: Float32Array, x: Float32Array, y: Float32Array): void {
  const columns = x.length;
  for (let row = 0, at = 0; row < y.length; row++) {
    let sum = 0;
    for (let i = 0; i < columns; i++, at++) sum += matrix[at]! * x[i]!;
    y[row] = sum;
  }
}

/** Softmax in place; the maximum is subtracted first, so that exp does not overflow. */
export function softmax(values: Float64Array): Float64Array {
  let largest = -Infinity;
  for (const value of values) largest = Math.max(largest, value);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] = Math.exp(values[i]! - largest);
  for (let i = 0; i < values.length; i++) values[i]! /= sum;
  return values;
}

/** The indices of the `count` largest values, best first; ties to the lowest index. */
export function topOf(values: Float32Array, count: number): number[] {
  return Array.from(values.keys())
    .sort((a, b) => values[b]! - values[a]! || a - b)
    .slice(0, count);
}
