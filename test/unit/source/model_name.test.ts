import { expect, test } from "vitest";
import { modelName } from "../../../src/source/model_name.ts";

const HOST = "https://cdn.example/m/";
const JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";

test.each([
  ["", ""],
  ["?", ""],
  ["#top", ""],
  ["?v=2", "?v=2"],
  ["?v=2&dir=a%2fb&v=3&flag", "?v=2&dir=a%2fb&v=3&flag"],
  // Names that a signature makes its own mean something else without one.
  ["?sv=2&st=b&expires=never", "?sv=2&st=b&expires=never"],
  ["?key=small&monkey=1&keys=2&tokens=8&design=x&author=y", "?key=small&monkey=1&keys=2&tokens=8&design=x&author=y"],
])("a query names the model: %s", (query, kept) => {
  expect(modelName(new URL(HOST + query))).toBe(HOST + kept);
});

test.each([
  "token=abc",
  "Access_Token=abc",
  "api_key=abc&apikey=abc&api-key=abc",
  "key=AIzaSyA1234567890abcdefghijklmnopqrstu",
  `key=${"0123456789abcdef".repeat(2)}`,
  `t=${JWT}`,
  "u=hf_abcdefghijklmnopqrst",
  "password=abc&auth=abc&sessionid=1&jwt=2&X-Auth-Token=3",
  "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260101&X-Amz-Date=2&X-Amz-Expires=3&X-Amz-SignedHeaders=host&X-Amz-Signature=5",
  "X-Goog-Algorithm=GOOG4&X-Goog-Credential=a%40b&X-Goog-Signature=5",
  "AWSAccessKeyId=AKIA&Signature=a%2Bb&Expires=1",
  "Expires=1&Signature=a~b__&Key-Pair-Id=K2&Policy=eyJ",
  "sv=2024-11-04&ss=b&srt=co&sp=rl&se=2026-01-01T00%3A00%3A00Z&st=2025&spr=https&sig=a%3D&sr=c",
])("what opens the door is left out: %s", (secrets) => {
  expect(modelName(new URL(`${HOST}?${secrets}`))).toBe(HOST);
  expect(modelName(new URL(`${HOST}?v=2&${secrets}&w=%C3%A4`))).toBe(`${HOST}?v=2&w=%C3%A4`);
});

test("userinfo is left out", () => {
  expect(modelName(new URL("https://me:secret@cdn.example/m/?v=1"))).toBe(`${HOST}?v=1`);
});
