import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";

test("the bundle for Node leaves the optional peer to the application", () => {
  const files = readdirSync("build/node").filter((name) => name.endsWith(".js"));
  const texts = files.map((name) => readFileSync(`build/node/${name}`, "utf8"));
  expect(texts.some((text) => /import\("@aws-sdk\/client-s3"\)/.test(text))).toBe(true);
  for (const text of texts) expect(text).not.toContain("node_modules/@aws-sdk");
});
