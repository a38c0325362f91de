/**
 * A client's behaviour as a tree. A client is deterministic: what it asks next is a function of the answers it got so
 * far. So the real code runs once for each list of answers, and the explorer of interleavings, which meets the same
 * list in thousands of states, only walks the tree.
 */
import type { Outcome } from "./client.ts";
import {
  type Call,
  clientStore,
  etagOf,
  type Failure,
  failure,
  isRef,
  type Reply,
  type World,
} from "./world.ts";

export type Answer = { reply: Reply } | { failure: Failure };

export interface Node {
  id: number;
  depth: number;
  parent: Node | undefined;
  answer: Answer | undefined;
  /** The request that waits for an answer; undefined when the client has ended. */
  ask: Call | undefined;
  /** What its caller has been told so far. */
  outcomes: Outcome[];
  /** Objects it has put up to here, and those it read since the answer before. */
  puts: Set<string>;
  reads: string[];
  /** By the answer's text. */
  next: Map<string, Node>;
}

/** Runs a client against a store; adds to `outcomes` whenever its caller learns something. */
export type Program = (store: import("../../src/store/store.ts").Store, outcomes: Outcome[]) => Promise<void>;

/**
 * Refs are schedule points; objects have names of their own bytes, so their requests commute with all others. Where
 * reads of objects are to fail as well, these are points too.
 */
export class Behaviour {
  /** Times that the real code ran. */
  runs = 0;
  nodes = 0;
  root: Node | undefined;
  private readonly program: Program;
  /** Every object any client ever put; whether one is there at the moment is the explorer's to check. */
  private readonly pool: World;

  private readonly readsAreSteps: boolean;

  constructor(program: Program, pool: World, readsAreSteps: boolean) {
    this.program = program;
    this.pool = pool;
    this.readsAreSteps = readsAreSteps;
  }

  async start(): Promise<Node> {
    this.root ??= await this.run(undefined, undefined);
    return this.root;
  }

  /** Where the client stands after one more answer. */
  async after(node: Node, name: string, answer: Answer): Promise<Node> {
    const known = node.next.get(name);
    if (known !== undefined) return known;
    const next = await this.run(node, answer);
    node.next.set(name, next);
    return next;
  }

  private async run(parent: Node | undefined, answer: Answer | undefined): Promise<Node> {
    this.runs++;
    const script: Answer[] = [];
    const asked: Call[] = [];
    for (let at = parent; at !== undefined; at = at.parent) {
      if (at.answer !== undefined) script.unshift(at.answer);
      asked.unshift(at.ask as Call);
    }
    if (answer !== undefined) script.push(answer);

    const node: Node = {
      id: this.nodes++,
      depth: script.length,
      parent,
      answer,
      ask: undefined,
      outcomes: [],
      puts: new Set(parent?.puts),
      reads: [],
      next: new Map(),
    };
    let place = 0;
    let stop = (): void => {};
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    let isOver = false;
    const outcomes: Outcome[] = [];
    const store = clientStore(async (call) => {
      if (isOver) return new Promise(() => {});
      if (!isRef(call.key) && !(this.readsAreSteps && call.verb === "get")) {
        if (call.verb === "put") node.puts.add(call.key);
        else if (place === script.length) node.reads.push(call.key);
        return this.pool.apply(call);
      }
      const before = asked[place];
      if (before !== undefined && !isSame(before, call)) {
        stop();
        throw new Error(`not deterministic: ${call.verb} ${call.key} where there was another request before`);
      }
      if (place === script.length) {
        isOver = true;
        node.ask = call;
        node.outcomes = [...outcomes];
        stop();
        return new Promise(() => {});
      }
      const given = script[place++] as Answer;
      if ("failure" in given) throw failure(given.failure, call);
      return given.reply;
    });
    await Promise.race([
      this.program(store, outcomes).then(() => {
        if (!isOver) node.outcomes = outcomes;
        isOver = true;
      }),
      stopped,
    ]);
    return node;
  }
}

function isSame(a: Call, b: Call): boolean {
  if (a.verb !== b.verb || a.key !== b.key) return false;
  return a.verb !== "put" || b.verb !== "put" || etagOf(a.key, a.bytes) === etagOf(b.key, b.bytes);
}
