// A navigation up to its first search result. Times are since it began.
import { DreamDBSpace } from "/lib/space.js";
import { plan, post } from "./plan.mjs";

const { bucket, query, worker } = plan;
const loaded = performance.now();
const space = await DreamDBSpace.fromUri(`${bucket}/refs/words`, { worker });
const opened = performance.now();
const [hits] = await space.query({ field: "vector", query: Float32Array.from(query), fields: [] });
const found = performance.now();
const ids = hits._time_anchors.map((anchor) => Number(anchor) - 1);
await post("/finished", { loaded, opened, found, ids });
