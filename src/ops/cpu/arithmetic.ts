/** What several verbs compute with: plain loops that accumulate in f64 and store f32. */

import type { Activation } from "../ops.ts";

/** An activation as a function. */
export function activate(activation: Activation): (gate: number, up: number) => number {
  switch (activation.kind) {
    case "silu":
      return (gate, up) => (gate / (1 + Math.exp(-gate))) * up;
    case "gelu":
      return (gate, up) => (gate / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate ** 3))) * up;
    case "sigmoid":
      return (gate, up) => sigmoid(gate) * up;
    case "identity":
      return (gate, up) => gate * up;
    case "clampedSwiglu": {
      const { alpha, limit } = activation;
      return (gate, up) => {
        const g = Math.min(gate, limit);
        return (Math.max(-limit, Math.min(up, limit)) + 1) * g * sigmoid(alpha * g);
      };
    }
    default:
      return activation satisfies never;
  }
}

export const sigmoid = (z: number): number => 1 / (1 + Math.exp(-z));

/**
 * y[t] = matrix x[t] for each of `rows` rows of x and y; matrix [height, columns] row-major. A row of
 * the matrix meets all rows of x before the next is read from memory, four at a time, since a
 * processor adds four sums in the time of one. Each sum runs over the columns in order.
 */
export function multiply(matrix: Float32Array, x: Float32Array, y: Float32Array, rows: number): void {
  const [columns, height] = [x.length / rows, y.length / rows];
  for (let row = 0; row < height; row++) {
    const at = row * columns;
    let t = 0;
    for (; t + 4 <= rows; t += 4) {
      const [x0, x1, x2, x3] = [t * columns, (t + 1) * columns, (t + 2) * columns, (t + 3) * columns];
      let [sum0, sum1, sum2, sum3] = [0, 0, 0, 0];
      for (let i = 0; i < columns; i++) {
        const w = matrix[at + i]!;
        sum0 += w * x[x0 + i]!;
        sum1 += w * x[x1 + i]!;
        sum2 += w * x[x2 + i]!;
        sum3 += w * x[x3 + i]!;
      }
      y[t * height + row] = sum0;
      y[(t + 1) * height + row] = sum1;
      y[(t + 2) * height + row] = sum2;
      y[(t + 3) * height + row] = sum3;
    }
    for (; t < rows; t++) {
      let sum = 0;
      for (let i = 0, from = t * columns; i < columns; i++) sum += matrix[at + i]! * x[from + i]!;
      y[t * height + row] = sum;
    }
  }
}

/** y += x. */
export function addTo(y: Float32Array, x: Float32Array): void {
  for (let i = 0; i < y.length; i++) y[i]! += x[i]!;
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
export function topOf(values: ArrayLike<number>, count: number): number[] {
  return Array.from({ length: values.length }, (_, index) => index)
    .sort((a, b) => values[b]! - values[a]! || a - b)
    .slice(0, count);
}
