// One contender's first result in a fresh process, printed. Imports nothing that the contender doesn't need.
import { readFileSync } from "node:fs";
import { CONTENDERS } from "./contenders.mjs";

const { contender, variant, parameters, directory, setting, dim, queryFile } = JSON.parse(process.argv[2]);
const bytes = readFileSync(queryFile);
const query = new Float32Array(bytes.buffer, bytes.byteOffset, dim).slice();
const opened = await (await CONTENDERS[contender].load()).open({ dim }, directory, parameters, variant);
await opened.use(setting);
console.log(Array.from(await opened.search(query), (id) => Number(id) - (opened.firstId ?? 0)).join());
process.exit(0);
