import { describe, expect, it } from "vitest";
import { resolveModel } from "../../../src/source/hub.ts";

const PAGE = "https://page.example/demo/index.html?x#y";

describe("resolveModel", () => {
  it.each([
    ["https://host.example/models/tiny/", "https://host.example/models/tiny/"],
    ["https://host.example/models/tiny", "https://host.example/models/tiny/"],
    ["  http://localhost:8080 ", "http://localhost:8080/"],
    ["https://host.example/m?key=1#top", "https://host.example/m/?key=1"],
    [
      "mlx-community/Mixtral-8x7B-v0.1-4bit",
      "https://huggingface.co/mlx-community/Mixtral-8x7B-v0.1-4bit/resolve/main/",
    ],
    ["o/n@1a2b3c", "https://huggingface.co/o/n/resolve/1a2b3c/"],
    ["o/n@refs/pr/1", "https://huggingface.co/o/n/resolve/refs%2Fpr%2F1/"],
    ["./models/tiny", "https://page.example/demo/models/tiny/"],
    ["../tiny/", "https://page.example/tiny/"],
    ["/tiny", "https://page.example/tiny/"],
  ])("%s is %s", (reference, url) => {
    expect(resolveModel(reference, PAGE)).toBe(url);
  });

  it("gives what it gave back", () => {
    const url = resolveModel("o/n@v1");
    expect(resolveModel(url)).toBe(url);
  });

  it.each([
    "",
    "name",
    "a/b/c",
    "o/n@",
    "o/n@..",
    "../../o/n@x y/\u0000",
    "C:\\models",
    "file:///models",
    "javascript:alert(1)",
  ])("%s without a page is bad-request, which names it", (reference) => {
    expect(() => resolveModel(reference)).toThrow(
      expect.objectContaining({ code: "bad-request", message: expect.stringContaining(JSON.stringify(reference)) }),
    );
  });

  it.each(["./tiny", "/tiny"])("%s needs a page", (reference) => {
    expect(() => resolveModel(reference)).toThrow(expect.objectContaining({ code: "bad-request" }));
    expect(() => resolveModel(reference, "blob:https://x/1")).toThrow(expect.objectContaining({ code: "bad-request" }));
  });
});
