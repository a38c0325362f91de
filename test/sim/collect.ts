/**
 * Every interleaving of a collector of garbage with writers, makers of branches, mergers and readers: here objects come and go, so
 * their puts, deletes and looks for them are steps as well, and a state is the whole backend. Breadth first; equal states once.
 */
import { isDreamDBError } from "../../src/errors.ts";
import type { Store } from "../../src/store/store.ts";
import { type Call, clientStore, type Failure, failure, type Reply, World } from "./world.ts";

/** What a client's caller was told, as text for people and for comparing states. */
export type Told = string[];

export interface Actor {
  name: string;
  /** Deterministic: the same answers make the same requests. */
  run: (store: Store, told: Told) => Promise<void>;
  /** Whether its reads of objects are steps, so that these may be gone. */
  readsAreSteps?: boolean;
  /** Whether it can be killed, or its requests fail. Default true. */
  fails?: boolean;
}

export interface CollectScenario {
  name: string;
  base: World;
  actors: Actor[];
  faults: number;
  /** What is wrong with a backend, whoever is still at work. */
  check: (world: World) => Promise<string[]>;
  /** What is wrong when all is over, given what each was told. */
  end: (world: World, told: readonly Told[]) => Promise<string[]>;
}

export interface CollectResult {
  states: number;
  transitions: number;
  schedules: bigint;
  ends: number;
  runs: number;
  deleted: number;
  violations: { message: string; trace: string[] }[];
  isComplete: boolean;
}

type Answer = { reply: Reply } | { failure: Failure };

interface Node {
  id: number;
  parent: Node | undefined;
  answer: Answer | undefined;
  ask: Call | undefined;
  told: Told;
  /** Objects it read since the answer before, which had to be there. */
  reads: string[];
  next: Map<string, Node>;
}

interface Backend {
  id: number;
  world: World;
}

interface State {
  backend: Backend;
  nodes: Node[];
  dead: number;
  faults: number;
  ways: bigint;
  parent: State | undefined;
  step: string;
}

const LIST_KIND = new TextEncoder().encode("dreamdb.addresses");

export class Collecting {
  readonly scenario: CollectScenario;
  private readonly pool: World;
  private readonly roots: (Node | undefined)[];
  private readonly backends = new Map<string, Backend>();
  private readonly values = new Map<string, number>();
  private readonly verdicts = new Map<string, Promise<string[]>>();
  private readonly listKeys = new Map<string, boolean>();
  private nodeCount = 0;
  readonly result: CollectResult = {
    states: 0,
    transitions: 0,
    schedules: 0n,
    ends: 0,
    runs: 0,
    deleted: 0,
    violations: [],
    isComplete: false,
  };

  constructor(scenario: CollectScenario) {
    this.scenario = scenario;
    this.pool = new World(scenario.base);
    this.roots = scenario.actors.map(() => undefined);
  }

  async explore(
    options: { deadline?: number; most?: number; onProgress?: (states: number) => void } = {},
  ): Promise<CollectResult> {
    const { result } = this;
    const first = await this.begin();
    let level = new Map([[this.keyOf(first), first]]);
    while (level.size > 0) {
      const next = new Map<string, State>();
      for (const state of level.values()) {
        result.states++;
        if (result.states % 64 === 0 && Date.now() > (options.deadline ?? Number.POSITIVE_INFINITY))
          return result;
        if (result.violations.length >= (options.most ?? 1)) return result;
        if (!(await this.isSound(state))) continue;
        const steps = this.stepsFrom(state);
        if (steps.length === 0) await this.ended(state);
        for (const { name, cost, take } of steps) {
          if (state.faults + cost > this.scenario.faults) continue;
          result.transitions++;
          const to = await take(name);
          const key = this.keyOf(to);
          const known = next.get(key);
          if (known === undefined) next.set(key, to);
          else known.ways += state.ways;
        }
        Object.assign(state, { nodes: [], backend: undefined });
      }
      options.onProgress?.(result.states);
      level = next;
    }
    result.isComplete = result.violations.length === 0;
    return result;
  }

  /** One schedule, chosen by `pick` from the number of steps there are; faults as they come. */
  async walk(pick: (count: number) => number): Promise<string[]> {
    const { result } = this;
    for (let state = await this.begin(); ; ) {
      result.states++;
      if (!(await this.isSound(state))) return result.violations.at(-1)?.trace ?? [];
      const steps = this.stepsFrom(state).filter(({ cost }) => state.faults + cost <= this.scenario.faults);
      if (steps.length === 0) {
        await this.ended(state);
        return traceOf(state);
      }
      // Without a fault nine times in ten.
      const calm = steps.filter(({ cost }) => cost === 0);
      const among = calm.length > 0 && pick(10) > 0 ? calm : steps;
      const step = among[pick(among.length)] as (typeof steps)[number];
      result.transitions++;
      state = await step.take(step.name);
    }
  }

  private async begin(): Promise<State> {
    const nodes: Node[] = [];
    for (const i of this.scenario.actors.keys()) {
      this.roots[i] ??= await this.run(i, undefined, undefined);
      nodes.push(this.roots[i] as Node);
    }
    const backend = this.backendOf(new World(this.scenario.base));
    return { backend, nodes, dead: 0, faults: 0, ways: 1n, parent: undefined, step: "" };
  }

  private stepsFrom(state: State): { name: string; cost: number; take: (name: string) => Promise<State> }[] {
    const steps: { name: string; cost: number; take: (name: string) => Promise<State> }[] = [];
    state.nodes.forEach((node, i) => {
      const { ask } = node;
      if (ask === undefined || (state.dead >> i) & 1) return;
      const what = `${this.scenario.actors[i]?.name} ${ask.verb} ${ask.key}`;
      const add = (how: string, cost: number, applies: boolean, answer?: Failure | "ok"): void => {
        steps.push({
          name: `${what}: ${how}`,
          cost,
          take: (name) => this.taken(state, i, { name, cost, applies, answer }),
        });
      };
      add("ok", 0, true, "ok");
      if (this.scenario.actors[i]?.fails === false) return;
      const changes = ask.verb === "put" || ask.verb === "delete";
      add("no answer", 1, false, "unavailable");
      if (!changes) return;
      if (ask.verb === "delete") add("done, no answer", 1, true, "unavailable");
      else if (ask.condition === undefined) add("done, no answer", 1, true, "unavailable");
      else add("done, no answer", 1, true, "unknown");
      add("killed before", 1, false);
      add("killed after", 1, true);
    });
    return steps;
  }

  private async taken(
    state: State,
    actor: number,
    {
      name,
      cost,
      applies,
      answer,
    }: { name: string; cost: number; applies: boolean; answer: Failure | "ok" | undefined },
  ): Promise<State> {
    const node = state.nodes[actor] as Node;
    const call = node.ask as Call;
    const after = applies ? new World(state.backend.world) : state.backend.world;
    const reply = applies ? after.apply(call) : undefined;
    const isChanged = applies && (call.verb === "put" || call.verb === "delete") && reply?.is !== "conflict";
    if (isChanged && call.verb === "delete" && state.backend.world.values.has(call.key))
      this.result.deleted++;
    const backend = isChanged ? this.backendOf(after) : state.backend;
    const base = { backend, faults: state.faults + cost, ways: state.ways, parent: state, step: name };
    if (answer === undefined) return { ...base, nodes: state.nodes, dead: state.dead | (1 << actor) };
    const given: Answer = answer === "ok" ? { reply: reply as Reply } : { failure: answer };
    const next = await this.after(actor, node, given);
    return { ...base, nodes: state.nodes.map((each, i) => (i === actor ? next : each)), dead: state.dead };
  }

  private async after(actor: number, node: Node, answer: Answer): Promise<Node> {
    const text = "failure" in answer ? answer.failure : textOf(answer.reply);
    const known = node.next.get(text);
    if (known !== undefined) return known;
    const next = await this.run(actor, node, answer);
    node.next.set(text, next);
    return next;
  }

  /** Runs the real code from the beginning, up to the first request that has no answer yet. One request at a time. */
  private async run(actor: number, parent: Node | undefined, answer: Answer | undefined): Promise<Node> {
    this.result.runs++;
    const script: Answer[] = answer === undefined ? [] : [answer];
    const asked: Call[] = [];
    for (let at = parent; at !== undefined; at = at.parent) {
      if (at.answer !== undefined) script.unshift(at.answer);
      asked.unshift(at.ask as Call);
    }
    const node: Node = {
      id: this.nodeCount++,
      parent,
      answer,
      ask: undefined,
      told: [],
      reads: [],
      next: new Map(),
    };
    const { run, readsAreSteps } = this.scenario.actors[actor] as Actor;
    let place = 0;
    let isOver = false;
    let stop = (): void => {};
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    const told: Told = [];
    let turn: Promise<unknown> = Promise.resolve();
    const one = async (call: Call): Promise<Reply> => {
      if (isOver) return new Promise(() => {});
      if (call.verb === "put" && call.key.startsWith("objects/")) this.pool.apply(call);
      if (call.verb === "get" && !this.isStep(call, readsAreSteps === true)) {
        if (place === script.length) node.reads.push(call.key);
        return this.pool.apply(call);
      }
      const before = asked[place];
      if (before !== undefined && (before.verb !== call.verb || before.key !== call.key))
        throw new Error(`not deterministic: ${call.verb} ${call.key} after ${before.verb} ${before.key}`);
      if (place === script.length) {
        isOver = true;
        node.ask = call;
        node.told = [...told];
        stop();
        return new Promise(() => {});
      }
      const given = script[place++] as Answer;
      if ("failure" in given) throw failure(given.failure, call);
      return given.reply;
    };
    const store = clientStore(
      (call) => {
        const mine = turn.then(() => one(call));
        turn = mine.catch(() => undefined);
        return mine;
      },
      { listsInParts: true },
    );
    const ended = run(store, told).catch((error: unknown) => {
      told.push(`FAULT ${error instanceof Error ? error.stack : String(error)}`);
    });
    await Promise.race([ended, stopped]);
    if (!isOver) node.told = [...told];
    isOver = true;
    return node;
  }

  /** Whether a get may find something else at another time. Objects that refs reach are there for good, which is checked. */
  private isStep(call: Call & { verb: "get" }, readsAreSteps: boolean): boolean {
    if (!call.key.startsWith("objects/")) return true;
    if (readsAreSteps || call.range?.length === 0) return true;
    const known = this.listKeys.get(call.key);
    if (known !== undefined) return known;
    const bytes = this.pool.values.get(call.key)?.bytes;
    const isList = bytes !== undefined && includes(bytes.subarray(0, 128), LIST_KIND);
    if (bytes !== undefined) this.listKeys.set(call.key, isList);
    // What nobody ever put may be put later.
    return bytes === undefined || isList;
  }

  private backendOf(world: World): Backend {
    let text = "";
    for (const [key, { etag }] of [...world.values].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const name = `${key} ${etag}`;
      const id = this.values.get(name) ?? this.values.size;
      this.values.set(name, id);
      text += `${id},`;
    }
    const known = this.backends.get(text) ?? { id: this.backends.size, world };
    this.backends.set(text, known);
    return known;
  }

  private keyOf({ backend, nodes, dead, faults }: State): string {
    return `${faults}|${dead}|${backend.id}|${nodes.map(({ id }) => id)}`;
  }

  private async isSound(state: State): Promise<boolean> {
    const { world, id } = state.backend;
    const wrong: string[] = [];
    for (const [i, node] of state.nodes.entries()) {
      const fault = node.told.find((text) => text.startsWith("FAULT"));
      if (fault !== undefined) wrong.push(`${this.scenario.actors[i]?.name}: ${fault}`);
      const missing = node.reads.find((key) => !world.values.has(key));
      if (
        missing !== undefined &&
        !((state.dead >> i) & 1) &&
        state.step.startsWith(`${this.scenario.actors[i]?.name} `)
      )
        wrong.push(`${this.scenario.actors[i]?.name} was led to ${missing}, which is not there`);
    }
    const known = this.verdicts.get(`${id}`) ?? this.scenario.check(world);
    this.verdicts.set(`${id}`, known);
    wrong.push(...(await known));
    if (wrong[0] === undefined) return true;
    this.result.violations.push({ message: wrong[0], trace: traceOf(state) });
    return false;
  }

  private async ended(state: State): Promise<void> {
    this.result.ends++;
    this.result.schedules += state.ways;
    const told = state.nodes.map((node) => node.told);
    const key = `end ${state.backend.id} ${JSON.stringify(told)}`;
    const known = this.verdicts.get(key) ?? this.scenario.end(new World(state.backend.world), told);
    this.verdicts.set(key, known);
    const [first] = await known;
    if (first !== undefined) this.result.violations.push({ message: first, trace: traceOf(state) });
  }
}

function textOf(reply: Reply): string {
  switch (reply.is) {
    case "value":
      return reply.value === undefined ? "none" : `${reply.value.etag} ${reply.value.bytes.length}`;
    case "etag":
      return `put ${reply.etag}`;
    case "conflict":
      return `conflict ${reply.found}`;
    case "keys":
      return `keys ${reply.keys.map(({ key, bytes }) => `${key}=${bytes}`).join()}`;
    default:
      return "done";
  }
}

function includes(bytes: Uint8Array, part: Uint8Array): boolean {
  for (let at = 0; at + part.length <= bytes.length; at++)
    if (part.every((byte, i) => bytes[at + i] === byte)) return true;
  return false;
}

function traceOf(state: State): string[] {
  const trace: string[] = [];
  for (let at: State | undefined = state; at?.parent !== undefined; at = at.parent) trace.unshift(at.step);
  return trace;
}

/** What a caller is told of an error: its code, and whether it took effect. */
export function codeOf(error: unknown): string {
  if (!isDreamDBError(error)) throw error;
  return `${error.code} ${error.committed ?? ""}`.trim();
}
