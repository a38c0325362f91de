// A browser that has started, with nothing of the library seen yet, opens the page that is timed.
import { plan, post } from "./plan.mjs";

await new Promise((resolve) => setTimeout(resolve, 500));
await post("/started", {});
location.replace(plan.next);
