// A browser that has started, with nothing of the library seen yet, opens the page that is timed.
import { plan } from "./plan.mjs";

setTimeout(() => location.replace(plan.next), 500);
