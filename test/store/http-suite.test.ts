// Unsigned HTTP against a plain server, in the forms that servers come in.
import { describe } from "@jest/globals";
import { httpStore } from "../../src/store/remote/http.ts";
import { type ServerOptions, withServer } from "./object-server.ts";
import { storeSuite } from "./suite.ts";

let places = 0;

describe.each<[string, ServerOptions]>([
  ["unique tags", { etags: "unique", pageKeys: 3 }],
  ["tags of the bytes, bare in conditions", { etags: "md5", conditions: "bare" }],
  ["no ranges", { ranges: false }],
])("%s", (name, options) => {
  const server = withServer(options);
  const prefix = "some/where";
  storeSuite(
    `http, ${name}`,
    () => {
      const url = `${server.url}/b${places++}/${prefix}`;
      return { open: () => httpStore(url, { onWarning: () => {} }) };
    },
    {
      reopens: true,
      copiesAtOnce: false,
      tagsFromBytes: options.etags === "md5",
      maxKeyBytes: 1024 - prefix.length - 1,
    },
  );
});
