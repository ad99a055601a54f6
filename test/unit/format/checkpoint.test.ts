import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/format/checkpoint.ts";
import { readClaims } from "../../../src/format/quantization_config.ts";
import type { Dtype, TensorEntry } from "../../../src/format/safetensors.ts";
import { fixtureJson, fixtureTensors } from "./fixture.ts";

const SIZES: Partial<Record<Dtype, number>> = { F32: 4, F16: 2, BF16: 2, U32: 4, U8: 1, F8_E4M3: 1, I32: 4 };

/** Headers by file of `[tensor, dtype, shape]`, laid one after the other from byte 101. */
function shardsOf(files: Record<string, readonly (readonly [string, Dtype, readonly number[]])[]>) {
  return new Map(
    Object.entries(files).map(([file, list]) => {
      let at = 101;
      const tensors = list.map(([name, dtype, shape]): [string, TensorEntry] => {
        const begin = at;
        at += shape.reduce((product, size) => product * size, SIZES[dtype]!);
        return [name, { dtype, shape, begin, end: at }];
      });
      return [file, new Map(tensors)];
    }),
  );
}

const quantised = (module: string, rows: number, words: number, groups: number, scales: Dtype = "BF16") =>
  [
    [`${module}.weight`, "U32", [rows, words]],
    [`${module}.scales`, scales, [rows, groups]],
    [`${module}.biases`, scales, [rows, groups]],
  ] as const;

const open = (config: unknown, list: readonly (readonly [string, Dtype, readonly number[]])[]) =>
  openCheckpoint(config, shardsOf({ "model.safetensors": list }));

const Q4 = { quantization: { group_size: 64, bits: 4 } };

it("null in config.json's quantization is as if absent", () => {
  const encoding = { kind: "affine", bits: 4, group: 64, scales: "bf16" };
  for (const config of [
    { quantization: { group_size: 64, bits: 4, mode: null } },
    { quantization: { group_size: 64, bits: 4, a: { group_size: 64, bits: 4, mode: null } } },
    { quantization: null, quantization_config: { group_size: 64, bits: 4, quant_method: null } },
  ])
    expect(open(config, quantised("a", 6, 8, 1)).find([{ module: "a" }], 6, 64)).toMatchObject({ encoding });
  const plain = open({ quantization_config: { quant_method: null } }, [["a.weight", "BF16", [6, 4]]]);
  expect(plain.find([{ module: "a" }], 6, 4)).toMatchObject({ encoding: { kind: "plain", dtype: "bf16" } });
});

describe("a plain matrix", () => {
  const list = [
    ["a.weight", "BF16", [6, 4]],
    ["stack.weight", "F16", [3, 6, 4]],
    ["fused", "F32", [3, 12, 4]],
    ["odd.weight", "F8_E4M3", [6, 4]],
    ["words.weight", "U32", [6, 8]],
  ] as const;
  const checkpoint = open({}, list);
  const file = "model.safetensors";

  it("is the whole tensor", () => {
    expect(checkpoint.find([{ module: "a" }], 6, 4)).toEqual({
      rows: 6,
      columns: 4,
      encoding: { kind: "plain", dtype: "bf16" },
      weight: { file, begin: 101, end: 101 + 48 },
    });
  });

  it("is one of a stack", () => {
    const begin = 101 + 48;
    const { weight, encoding } = checkpoint.find([{ module: "stack", stack: 2 }], 6, 4);
    expect(weight).toEqual({ file, begin: begin + 2 * 48, end: begin + 3 * 48 });
    expect(encoding).toEqual({ kind: "plain", dtype: "f16" });
  });

  it("is the upper or lower half of one of a fused stack, whose name is bare", () => {
    const begin = 101 + 48 + 144;
    const fused = { module: "fused", bare: true, stack: 1 };
    const gate = checkpoint.find([{ ...fused, firstRow: 0 }], 6, 4).weight;
    const up = checkpoint.find([{ ...fused, firstRow: 6 }], 6, 4).weight;
    expect(gate).toEqual({ file, begin: begin + 192, end: begin + 192 + 96 });
    expect(up).toEqual({ file, begin: begin + 192 + 96, end: begin + 192 + 192 });
  });

  it("is the first of the candidates that is there", () => {
    const { weight } = checkpoint.find([{ module: "no" }, { module: "fused" }, { module: "a" }], 6, 4);
    expect(weight.begin).toBe(101);
  });

  it.each([
    ["rows", { module: "a" }, 5, 4, /a\.weight.*\[6, 4\].*asks for \[5, 4\]/],
    ["columns", { module: "a" }, 6, 5, /\[6, 4\].*\[6, 5\]/],
    ["a stack where a matrix is due", { module: "stack" }, 6, 4, /\[3, 6, 4\].*\[6, 4\]/],
    ["a matrix where a stack is due", { module: "a", stack: 0 }, 6, 4, /\[6, 4\].*\[more than 0, 6, 4\]/],
    ["a stack too short", { module: "stack", stack: 3 }, 6, 4, /\[3, 6, 4\].*\[more than 3, 6, 4\]/],
    [
      "a fused tensor not twice as high",
      { module: "fused", bare: true, stack: 0, firstRow: 0 },
      5,
      4,
      /\[3, 12, 4\].*10, 4\]/,
    ],
  ])("of the wrong shape is bad-config, with both shapes: %s", (_, name, rows, columns, message) => {
    const find = () => checkpoint.find([name], rows, columns);
    expect(find).toThrow(expect.objectContaining({ code: "bad-config" }));
    expect(find).toThrow(message);
  });

  it("of another type is unsupported-quantization", () => {
    for (const [module, columns] of [
      ["odd", 4],
      ["words", 64],
    ] as const)
      expect(() => checkpoint.find([{ module }], 6, columns)).toThrow(
        expect.objectContaining({ code: "unsupported-quantization" }),
      );
  });

  it("that is missing is missing-tensor, with every name that was tried", () => {
    const find = () => checkpoint.find([{ module: "x.w1" }, { module: "y.gate_up", bare: true, stack: 0 }], 6, 4);
    expect(find).toThrow(expect.objectContaining({ code: "missing-tensor" }));
    expect(find).toThrow(/x\.w1\.weight, nor y\.gate_up\./);
  });

  it("that is missing is told with what is there instead: of the same layer, else of the same model", () => {
    const names = ["model.layers.3.mlp.gate", "model.layers.3.norm", "model.layers.4.norm", "model.norm"];
    const some = open(
      {},
      names.map((name) => [`${name}.weight`, "F32", [6, 4]] as const),
    );
    const told = (module: string) => {
      try {
        some.find([{ module }], 6, 4);
      } catch (error) {
        return /The nearest they have: (.*?)\. /.exec((error as Error).message)?.[1]?.split(", ");
      }
      return [];
    };
    expect(told("model.layers.3.mlp.router")).toEqual(["model.layers.3.mlp.gate.weight"]);
    expect(told("model.layers.3.attention.q")).toEqual([
      "model.layers.3.mlp.gate.weight",
      "model.layers.3.norm.weight",
    ]);
    expect(told("model.embed")).toHaveLength(4);
    expect(told("lm_head")).toBeUndefined();
  });

  it("is one of several that lie one above the other", () => {
    const thirds = open({}, [["in.weight", "F32", [18, 4]]]);
    const third = (firstRow: number) => thirds.find([{ module: "in", firstRow, ofRows: 18 }], 6, 4).weight;
    expect(third(0).end).toBe(third(6).begin);
    expect(third(12).begin - third(0).begin).toBe(12 * 16);
    expect(() => thirds.find([{ module: "in", firstRow: 0 }], 6, 4)).toThrow(/\[18, 4\].*\[12, 4\]/);
  });

  it("can be asked for", () => {
    expect(["a", "fused", "b", "a.weigh"].map((module) => checkpoint.has(module))).toEqual([true, true, false, false]);
  });
});

describe("a plain tensor", () => {
  const checkpoint = open({}, [
    ["norm.weight", "BF16", [6]],
    ["q.bias", "F32", [3]],
    ["a.weight", "F32", [6, 2]],
    ["statics.bias", "F32", [1, 6]],
    ["conv.weight", "F32", [4, 1, 3]],
    ["mlx.weight", "F32", [4, 3, 1]],
  ]);
  const find = (module: string, rows: number, columns: number) => checkpoint.findPlain([{ module }], rows, columns);

  it("is one row where it is a vector, with or without .weight", () => {
    expect(find("norm", 1, 6)).toEqual({
      rows: 1,
      columns: 6,
      encoding: { kind: "plain", dtype: "bf16" },
      weight: { file: "model.safetensors", begin: 101, end: 113 },
    });
    expect(find("q.bias", 1, 3).weight.begin).toBe(113);
  });

  it("has dimensions of 1 wherever they were published", () => {
    expect(find("statics.bias", 1, 6)).toMatchObject({ rows: 1, columns: 6 });
    for (const module of ["conv", "mlx"]) {
      const { rows, columns, weight } = find(module, 4, 3);
      expect([rows, columns, weight.end - weight.begin]).toEqual([4, 3, 48]);
    }
  });

  it.each([
    ["norm", 1, 5, "bad-config"],
    ["a", 1, 12, "bad-config"],
    ["conv", 3, 4, "bad-config"],
    ["none", 1, 6, "missing-tensor"],
  ])("%s of %i rows of %i: %s is the error", (name, rows, columns, code) => {
    expect(() => find(name, rows, columns)).toThrow(expect.objectContaining({ code }));
  });
});

describe("the part for text of a model of text and images", () => {
  const list = (prefix: string) => [
    ...quantised(`${prefix}layers.0.mlp.gate`, 6, 16, 1),
    [`${prefix}norm.weight`, "F32", [6]] as const,
  ];

  it.each(["language_model.model.", "model.language_model."])("is found below %s, its overrides too", (prefix) => {
    const config = { quantization: { group_size: 64, bits: 4, [`${prefix}layers.0.mlp.gate`]: { bits: 8 } } };
    const checkpoint = open(config, [...list(prefix), ["language_model.lm_head.weight", "F32", [5, 6]]]);
    expect(checkpoint.find([{ module: "model.layers.0.mlp.gate" }], 6, 64).encoding).toMatchObject({ bits: 8 });
    expect(checkpoint.findPlain([{ module: "model.norm" }], 1, 6)).toMatchObject({ columns: 6 });
    expect(checkpoint.has("lm_head")).toBe(true);
    expect(checkpoint.find([{ module: `${prefix}layers.0.mlp.gate` }], 6, 64).encoding).toMatchObject({ bits: 8 });
  });
});

describe("what nothing was found in", () => {
  it("is told by its published name, with its bytes", () => {
    const names = ["a", "model.language_model.b", "vision.c"];
    const checkpoint = open(
      Q4,
      names.flatMap((name) => quantised(name, 6, 8, 1)),
    );
    const left = () => checkpoint.unclaimed().map(({ name }) => name);
    expect(left()).toHaveLength(9);
    checkpoint.has("a");
    checkpoint.find([{ module: "none" }, { module: "a" }], 6, 64);
    expect(left()).toHaveLength(6);
    checkpoint.find([{ module: "model.b" }], 6, 64);
    expect(left()).toEqual(["vision.c.weight", "vision.c.scales", "vision.c.biases"]);
    expect(checkpoint.unclaimed()[0]).toEqual({ name: "vision.c.weight", bytes: 6 * 8 * 4 });
  });
});

describe("an affine matrix", () => {
  it("takes bits and group from the shapes, and its ranges from wherever they are", () => {
    const [weight, scales, biases] = quantised("a", 6, 16, 4, "F16");
    const checkpoint = openCheckpoint({}, shardsOf({ one: [weight], two: [scales], three: [biases] }));
    expect(checkpoint.find([{ module: "a" }], 6, 128)).toEqual({
      rows: 6,
      columns: 128,
      encoding: { kind: "affine", bits: 4, group: 32, scales: "f16" },
      weight: { file: "one", begin: 101, end: 101 + 6 * 64 },
      scales: { file: "two", begin: 101, end: 101 + 6 * 8 },
      biases: { file: "three", begin: 101, end: 101 + 6 * 8 },
    });
  });

  it("is one of a stack in all three", () => {
    const list = [
      ["s.weight", "U32", [3, 6, 8]],
      ["s.scales", "BF16", [3, 6, 1]],
      ["s.biases", "BF16", [3, 6, 1]],
    ] as const;
    const found = open(Q4, list).find([{ module: "s", stack: 1 }], 6, 64);
    const begin = { weight: 101 + 192, scales: 101 + 576 + 12, biases: 101 + 576 + 36 + 12 };
    expect(found).toMatchObject({
      weight: { begin: begin.weight, end: begin.weight + 192 },
      scales: { begin: begin.scales, end: begin.scales + 12 },
      biases: { begin: begin.biases, end: begin.biases + 12 },
    });
  });

  it.each([
    ["the top level", Q4, 8, 1],
    ["quantization_config alone", { quantization_config: { group_size: 64, bits: 4 } }, 8, 1],
    ["an override", { quantization: { group_size: 64, bits: 4, a: { group_size: 32, bits: 8 } } }, 16, 2],
    ["an override that says less", { quantization: { group_size: 32, bits: 8, a: { bits: 4 } } }, 8, 1],
    [
      "an affine override of another mode",
      { quantization: { group_size: 32, bits: 4, mode: "mxfp4", a: { group_size: 64, bits: 8 } } },
      16,
      1,
    ],
    ["an override that says true", { quantization: { group_size: 64, bits: 4, a: true } }, 8, 1],
    ["nothing", {}, 16, 2],
  ])("agrees with %s", (_, config, words, groups) => {
    const { encoding } = open(config, quantised("a", 6, words, groups)).find([{ module: "a" }], 6, 64);
    expect(encoding).toMatchObject({ bits: words / 2, group: 64 / groups });
  });

  it.each([
    ["8 bits where config.json says 4", Q4, quantised("a", 6, 16, 1), /a has 8 bits.*says 4 bits/],
    ["groups of 32 where config.json says 64", Q4, quantised("a", 6, 8, 2), /groups of 32.*groups of 64/],
    [
      "an override that disagrees",
      { quantization: { group_size: 64, bits: 4, a: { group_size: 64, bits: 8 } } },
      quantised("a", 6, 8, 1),
      /says 8 bits/,
    ],
    [
      "scales where config.json says false",
      { quantization: { group_size: 64, bits: 4, a: false } },
      quantised("a", 6, 8, 1),
      /not quantised/,
    ],
    ["mode mxfp4", { quantization: { group_size: 32, bits: 4, mode: "mxfp4" } }, quantised("a", 6, 8, 2), /mxfp4/],
    ["1 bit", { quantization: { group_size: 64, bits: 1 } }, quantised("a", 6, 2, 1), /a has 1 bits/],
    ["7 bits", { quantization: { group_size: 64, bits: 7 } }, quantised("a", 6, 14, 1), /a has 7 bits/],
    ["groups of 8", { quantization: { group_size: 8, bits: 4 } }, quantised("a", 6, 8, 8), /groups of 8/],
    ["u8 scales", Q4, quantised("a", 6, 8, 1, "U8"), /U8 scales/],
    [
      "scales and biases of two types",
      Q4,
      [...quantised("a", 6, 8, 1).slice(0, 2), ["a.biases", "F16", [6, 1]] as const],
      /BF16 scales and F16 biases/,
    ],
    ["scales without biases", Q4, quantised("a", 6, 8, 1).slice(0, 2), /no biases/],
  ])("is unsupported-quantization for %s", (_, config, list, message) => {
    const find = () => open(config, list).find([{ module: "a" }], 6, 64);
    expect(find).toThrow(expect.objectContaining({ code: "unsupported-quantization" }));
    expect(find).toThrow(message);
    expect(find).toThrow(/affine 2, 3, 4, 5, 6 or 8 bits in groups of 16, 32, 64 or 128 with f16, bf16 or f32/);
  });

  it.each([
    ["another width, whole in itself", quantised("a", 6, 16, 2), /\[6, 16\].*\[6, 8\]/],
    [
      "biases of another shape than scales",
      [...quantised("a", 6, 8, 1).slice(0, 2), ["a.biases", "BF16", [6, 2]] as const],
      /a\.biases.*\[6, 2\].*\[6, 1\]/,
    ],
    ["another height", quantised("a", 7, 8, 1), /\[7, 8\].*\[6, 8\]/],
    [
      "scales of another height",
      [...quantised("a", 6, 8, 1).slice(0, 1), ...quantised("a", 5, 8, 1).slice(1)],
      /a\.scales.*\[5, 1\].*\[6, 1\]/,
    ],
  ])("is bad-config for %s", (_, list, message) => {
    const find = () => open(Q4, list).find([{ module: "a" }], 6, 64);
    expect(find).toThrow(expect.objectContaining({ code: "bad-config" }));
    expect(find).toThrow(message);
  });

  it.each([2, 3, 5, 6] as const)("may have %i bits, and then groups of 16 too", (bits) => {
    const config = { quantization: { group_size: 16, bits } };
    const { encoding, weight } = open(config, quantised("a", 6, 2 * bits, 4)).find([{ module: "a" }], 6, 64);
    expect(encoding).toEqual({ kind: "affine", bits, group: 16, scales: "bf16" });
    expect(weight.end - weight.begin).toBe(6 * 8 * bits);
  });

  it.each(["gptq", "awq", "fp8", "bitsandbytes", "compressed-tensors"])("by %s is refused at once", (method) => {
    const config = { quantization_config: { quant_method: method, bits: 4, group_size: 128 } };
    expect(() => open(config, [])).toThrow(expect.objectContaining({ code: "unsupported-quantization" }));
    expect(() => open(config, [])).toThrow(method);
  });
});

describe("MXFP4", () => {
  const encoding = { kind: "codebook", table: "fp4", group: 32, scales: "e8m0" };
  const mlx = [
    ["s.weight", "U32", [3, 6, 8]],
    ["s.scales", "U8", [3, 6, 2]],
  ] as const;
  const gptOss = [
    ["g_blocks", "U8", [3, 12, 2, 16]],
    ["g_scales", "U8", [3, 12, 2]],
  ] as const;
  const gptOssConfig = {
    quantization_config: { quant_method: "mxfp4", modules_to_not_convert: ["model.layers.*.self_attn", "lm_head"] },
  };

  it("as mlx has it: words with u8 scales and without biases", () => {
    const found = open({ quantization: { group_size: 32, bits: 4, mode: "mxfp4" } }, mlx);
    const scales = 101 + 3 * 6 * 32;
    expect(found.find([{ module: "s", stack: 2 }], 6, 64)).toEqual({
      rows: 6,
      columns: 64,
      encoding,
      weight: { file: "model.safetensors", begin: 101 + 2 * 192, end: 101 + 3 * 192 },
      scales: { file: "model.safetensors", begin: scales + 2 * 12, end: scales + 3 * 12 },
    });
  });

  it("as gpt-oss has it: blocks of 16 bytes, every second row of a stack", () => {
    const checkpoint = open(gptOssConfig, gptOss);
    expect(checkpoint.has("g")).toBe(true);
    const scales = 101 + 3 * 12 * 32;
    for (const everySecond of [0, 1] as const)
      expect(checkpoint.find([{ module: "g", blocks: true, stack: 1, everySecond }], 6, 64)).toEqual({
        rows: 6,
        columns: 64,
        encoding,
        weight: { file: "model.safetensors", begin: 101 + 384, end: 101 + 2 * 384 },
        scales: { file: "model.safetensors", begin: scales + 24, end: scales + 48 },
        everySecond,
      });
  });

  it.each([
    [
      "a mode that is not mxfp4",
      { quantization: { group_size: 16, bits: 4, mode: "nvfp4" } },
      mlx,
      "s",
      /mode "nvfp4"/,
    ],
    ["no mode, which is affine", { quantization: { group_size: 32, bits: 4 } }, mlx, "s", /mode "affine"/],
    [
      "words of another type",
      {},
      [["s.weight", "I32", [3, 6, 8]] as const, mlx[1]],
      "s",
      /s has 64 columns of I32 with U8 scales/,
    ],
    [
      "a module that config.json excepts",
      { quantization_config: { quant_method: "mxfp4", modules_to_not_convert: ["s"] } },
      mlx,
      "s",
      /not quantised/,
    ],
  ])("is unsupported-quantization for %s", (_, config, list, module, message) => {
    const find = () => open(config, list).find([{ module, stack: 0 }], 6, 64);
    expect(find).toThrow(expect.objectContaining({ code: "unsupported-quantization" }));
    expect(find).toThrow(message);
  });

  it("blocks of another shape are bad-config, and without scales missing-tensor", () => {
    const name = { module: "g", blocks: true, stack: 0, everySecond: 0 } as const;
    expect(() => open({}, gptOss).find([name], 5, 64)).toThrow(/\[3, 12, 2, 16\].*\[more than 0, 10, 2, 16\]/);
    expect(() => open({}, gptOss).find([name], 6, 96)).toThrow(expect.objectContaining({ code: "bad-config" }));
    expect(() => open({}, gptOss.slice(0, 1)).find([name], 6, 64)).toThrow(/no tensor g_scales/);
  });

  it("excepts what modules_to_not_convert names, and what that contains", () => {
    const claims = readClaims(gptOssConfig);
    expect(claims("model.layers.3.mlp.experts.gate_up_proj")).toEqual({ bits: 4, group: 32, mode: "mxfp4" });
    for (const module of ["model.layers.11.self_attn.q_proj", "model.layers.0.self_attn", "lm_head"])
      expect(claims(module)).toBe(false);
    expect(claims("lm_header")).not.toBe(false);
  });

  it.each([
    ["a.*.b", ["a.1.b", "a.1.2.b.c"], ["a.b", "x.a.1.b", "a.1.bc"]],
    ["*.b", ["a.b", "a.b.c"], ["b", "a.bc"]],
    ["a*", ["a", "ab", "a.b"], ["b.a"]],
    ["a*a", ["aa", "aba.c"], ["a"]],
    ["a*b*b", ["abb"], ["ab"]],
    ["a+.b", ["a+.b"], ["aa.b", "a+xb"]],
  ])("excepts by %s what it matches and no more", (pattern, excepted, others) => {
    const claims = readClaims({ quantization_config: { quant_method: "mxfp4", modules_to_not_convert: [pattern] } });
    expect(excepted.filter((module) => claims(module) !== false)).toEqual([]);
    expect(others.filter((module) => claims(module) === false)).toEqual([]);
  });

  it("takes no longer for a pattern of many stars", () => {
    const config = { quantization_config: { quant_method: "mxfp4", modules_to_not_convert: [`${"a*".repeat(40)}b`] } };
    expect(readClaims(config)("a".repeat(80))).not.toBe(false);
  });
});

describe("rows that alternate, columns for rows", () => {
  const checkpoint = open({}, [
    ["bias", "BF16", [3, 12]],
    ["gate_up", "BF16", [3, 4, 12]],
    ["rows", "F16", [12, 4]],
  ]);
  const file = "model.safetensors";

  it("biases are a column, all in the range of both", () => {
    const source = { rows: 6, columns: 1, encoding: { kind: "plain", dtype: "bf16" } };
    const weight = { file, begin: 101 + 24, end: 101 + 48 };
    const bias = { module: "bias", bare: true, stack: 1 };
    expect(checkpoint.findColumn([{ ...bias, everySecond: 1 }], 6)).toEqual({ ...source, weight, everySecond: 1 });
    expect(checkpoint.findColumn([{ module: "none", bare: true }, bias], 12)).toEqual({ ...source, rows: 12, weight });
    expect(() => checkpoint.findColumn([bias], 6)).toThrow(/\[3, 12\].*\[more than 1, 6\]/);
    expect(() => checkpoint.findColumn([{ module: "none", bare: true }], 6)).toThrow(/no tensor none\./);
  });

  it("a transposed matrix has the range of both, and says so", () => {
    const begin = 101 + 72;
    const name = { module: "gate_up", bare: true, stack: 2, everySecond: 0, transposed: true } as const;
    expect(checkpoint.find([name], 6, 4)).toMatchObject({
      weight: { file, begin: begin + 2 * 96, end: begin + 3 * 96 },
      everySecond: 0,
      transposed: true,
    });
    expect(() => checkpoint.find([name], 4, 6)).toThrow(/\[3, 4, 12\].*\[more than 2, 6, 8\]/);
  });

  it("a plain matrix may be every second row", () => {
    const found = checkpoint.find([{ module: "rows", bare: true, everySecond: 1 }], 6, 4);
    expect(found).toMatchObject({ rows: 6, weight: { end: found.weight.begin + 96 }, everySecond: 1 });
  });
});

describe("the published layouts", () => {
  it("mlx: a stacked expert, its router at 8 bits by override, from one file", () => {
    const { tensors } = fixtureTensors("mlx/mixtral_q4_embed8/model.safetensors");
    const checkpoint = openCheckpoint(fixtureJson("mlx/mixtral_q4_embed8/config.json"), new Map([["f", tensors]]));
    const router = checkpoint.find([{ module: "model.layers.1.block_sparse_moe.gate" }], 8, 128);
    expect(router.encoding).toEqual({ kind: "affine", bits: 8, group: 64, scales: "bf16" });
    const stacked = "model.layers.0.block_sparse_moe.switch_mlp.down_proj";
    const [first, last] = [0, 7].map((stack) => checkpoint.find([{ module: stacked, stack }], 128, 128));
    expect(first!.weight.begin).toBe(tensors.get(`${stacked}.weight`)!.begin);
    expect(last!.biases!.end).toBe(tensors.get(`${stacked}.biases`)!.end);
  });

  it("mlx's older layout: a router that no override excludes is plain, since it has no scales", () => {
    const { tensors } = fixtureTensors("mlx/mixtral_q4_legacy/model.safetensors");
    const checkpoint = openCheckpoint(fixtureJson("mlx/mixtral_q4_legacy/config.json"), new Map([["f", tensors]]));
    const router = checkpoint.find([{ module: "model.layers.0.block_sparse_moe.gate" }], 8, 128);
    expect(router.encoding).toEqual({ kind: "plain", dtype: "f16" });
  });

  it("transformers 5: gate and up rows of a fused tensor are the published w1 and w3", () => {
    const fused = fixtureTensors("atenia/full_mixtral.safetensors");
    const classic = fixtureTensors("atenia/mixtral_classic.safetensors");
    const checkpoint = openCheckpoint({}, new Map([["f", fused.tensors]]));
    const [, height, columns] = fused.entry("model.layers.1.mlp.experts.gate_up_proj").shape as [
      number,
      number,
      number,
    ];
    for (const [part, firstRow] of [
      ["w1", 0],
      ["w3", height / 2],
    ] as const) {
      const name = { module: "model.layers.1.mlp.experts.gate_up_proj", bare: true, stack: 3, firstRow };
      const { begin, end } = checkpoint.find([name], height / 2, columns).weight;
      const published = classic.data(`model.layers.1.block_sparse_moe.experts.3.${part}.weight`);
      expect(Buffer.compare(fused.bytes.subarray(begin, end), published)).toBe(0);
    }
  });
});
