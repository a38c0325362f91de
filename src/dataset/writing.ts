/** What a program loads with its first write, apart from what only upkeep takes, so that a page that writes loads little. */
export { append, stage } from "./append.ts";
export { ArrowSource } from "./arrow-source.ts";
export { createBranch } from "./create-branch.ts";
