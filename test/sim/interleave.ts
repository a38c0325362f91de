/**
 * Every interleaving of a few clients' requests for refs, with every fault, breadth first. A state is what the refs
 * are, where each client stands, and which requests are still on their way; equal states are looked at once. Breadth
 * first means that the first trace found to a violation is a shortest one.
 */
import { type Answer, Behaviour, type Node } from "./behaviour.ts";
import { type ClientPlan, runClient } from "./client.ts";
import { contradictions, Inspector, isReserved, resolvable } from "./inspect.ts";
import { type Call, etagOf, type Failure, isRef, World } from "./world.ts";

export interface Scenario {
  name: string;
  /** The backend before any client starts. */
  base: World;
  clients: ClientPlan[];
  /** Faults in one schedule at most. */
  faults: number;
  /** Whether reads of objects are steps, which may fail. */
  readsAreSteps?: boolean;
}

export interface Violation {
  message: string;
  /** The steps to it from the beginning. */
  trace: string[];
}

export interface Exploration {
  states: number;
  transitions: number;
  /** Different schedules: ways from the beginning to an end. */
  schedules: bigint;
  ends: number;
  /** Times the library's code ran to learn what a client does next, and states of branches that were read and checked. */
  runs: number;
  branches: number;
  violations: Violation[];
  /** False when the time was up first. */
  isComplete: boolean;
}

export interface ExploreOptions {
  /** Stops at so many violations. Default 1. */
  most?: number;
  deadline?: number;
  onProgress?: (soFar: { states: number; level: number }) => void;
}

type PutCall = Extract<Call, { verb: "put" }>;

/** The value of a ref; `body` undefined while there is none. */
interface RefValue {
  id: number;
  key: string;
  body: Uint8Array | undefined;
  etag: string | undefined;
  /** The client whose request made the ref, whoever moved it since. */
  maker: number | undefined;
}

interface State {
  refs: Map<string, RefValue>;
  nodes: Node[];
  /** Bit i: client i has crashed. */
  dead: number;
  /** Requests whose sender was told that they failed, and that may still arrive. */
  flying: { from: number; call: PutCall }[];
  faults: number;
  ways: bigint;
  parent: State | undefined;
  step: string;
}

interface Step {
  name: string;
  cost: number;
  to: () => Promise<State>;
}

export async function explore(scenario: Scenario, options: ExploreOptions = {}): Promise<Exploration> {
  return new Explorer(scenario, options).run();
}

class Explorer {
  private readonly pool: World;
  private readonly behaviours: Behaviour[];
  private readonly inspector: Inspector;
  private readonly scenario: Scenario;
  private readonly options: ExploreOptions;
  private readonly values = new Map<string, RefValue>();
  /** What a request makes of a ref, and with that the request's number. */
  private readonly puts = new Map<PutCall, RefValue>();
  private readonly baseKeys: Set<string>;
  private readonly checked = new Set<string>();
  private readonly result: Exploration = {
    states: 0,
    transitions: 0,
    schedules: 0n,
    ends: 0,
    runs: 0,
    branches: 0,
    violations: [],
    isComplete: false,
  };

  constructor(scenario: Scenario, options: ExploreOptions) {
    this.scenario = scenario;
    this.options = options;
    this.pool = new World(scenario.base);
    this.baseKeys = new Set(scenario.base.values.keys());
    this.behaviours = scenario.clients.map(
      (plan, i) =>
        new Behaviour(
          (store, outcomes) => runClient(store, `client ${i}`, plan, outcomes),
          this.pool,
          scenario.readsAreSteps === true,
        ),
    );
    this.inspector = new Inspector(this.pool);
  }

  async run(): Promise<Exploration> {
    const { result } = this;
    let level = new Map<string, State>();
    const first = await this.begin();
    level.set(this.keyOf(first), first);
    for (let depth = 0; level.size > 0; depth++) {
      const next = new Map<string, State>();
      for (const state of level.values()) {
        result.states++;
        if (result.states % 256 === 0 && Date.now() > (this.options.deadline ?? Number.POSITIVE_INFINITY))
          return this.finish(false);
        if (result.violations.length >= (this.options.most ?? 1)) return this.finish(false);
        if (!(await this.check(state))) continue;
        const steps = this.stepsFrom(state);
        if (steps.every((step) => step.name.endsWith("arrives"))) await this.end(state);
        for (const step of steps) {
          result.transitions++;
          if (state.faults + step.cost > this.scenario.faults) continue;
          const to = await step.to();
          if (!(await this.follows(state, to))) continue;
          const key = this.keyOf(to);
          const known = next.get(key);
          if (known !== undefined) known.ways += state.ways;
          else next.set(key, to);
        }
        // Of a state that has been left, only the way to it is needed.
        Object.assign(state, { nodes: [], refs: new Map(), flying: [] });
      }
      this.options.onProgress?.({ states: result.states, level: depth });
      level = next;
    }
    return this.finish(true);
  }

  private finish(isComplete: boolean): Exploration {
    const runs = this.behaviours.reduce((sum, behaviour) => sum + behaviour.runs, 0);
    return { ...this.result, runs, branches: this.inspector.states, isComplete };
  }

  private async begin(): Promise<State> {
    const refs = new Map<string, RefValue>();
    for (const [key, { bytes, etag }] of this.scenario.base.values)
      if (isRef(key)) refs.set(key, this.valueOf(key, bytes, etag));
    return {
      refs,
      nodes: await Promise.all(this.behaviours.map((behaviour) => behaviour.start())),
      dead: 0,
      flying: [],
      faults: 0,
      ways: 1n,
      parent: undefined,
      step: "",
    };
  }

  private valueOf(key: string, body?: Uint8Array, etag?: string, maker?: number): RefValue {
    const name = `${key} ${etag}`;
    const value = this.values.get(name) ?? { id: this.values.size, key, body, etag, maker };
    this.values.set(name, value);
    return value;
  }

  private stepsFrom(state: State): Step[] {
    const steps: Step[] = [];
    state.nodes.forEach((node, i) => {
      if ((state.dead >> i) & 1 || node.ask === undefined) return;
      steps.push(...this.stepsOf(state, i, node, node.ask));
    });
    state.flying.forEach(({ from, call }, i) => {
      steps.push({
        name: `${from} put ${call.key} arrives`,
        cost: 0,
        to: async () => {
          const flying = state.flying.filter((_, j) => j !== i);
          return this.moved(
            state,
            { refs: this.swapped(state, call), flying },
            `${from} put ${call.key} arrives`,
            0,
          );
        },
      });
    });
    return steps;
  }

  private stepsOf(state: State, client: number, node: Node, ask: Call): Step[] {
    const what = `${client} ${ask.verb} ${ask.key}`;
    const now = state.refs.get(ask.key) ?? this.valueOf(isRef(ask.key) ? ask.key : "objects");
    const steps: Step[] = [];
    const add = (
      how: string,
      cost: number,
      outcome: { answer?: Answer; applies?: boolean; flies?: boolean; from?: number },
    ): void => {
      const name = `${what}: ${how}`;
      steps.push({
        name,
        cost,
        to: async () => {
          const call = ask as PutCall;
          const refs = outcome.applies === true ? this.swapped(state, call) : state.refs;
          const flying = outcome.flies === true ? [...state.flying, { from: client, call }] : state.flying;
          if (outcome.answer === undefined)
            return this.moved(state, { refs, flying, dead: state.dead | (1 << client) }, name, cost);
          const answerName = `${how} ${now.id}`;
          const behaviour = this.behaviours[client] as Behaviour;
          const next = await behaviour.after(node, answerName, outcome.answer);
          const nodes = state.nodes.map((each, i) => (i === client ? next : each));
          return this.moved(state, { refs, flying, nodes }, name, cost);
        },
      });
    };
    if (!isRef(ask.key)) {
      const value = this.isThere(state, ask.key) ? this.pool.values.get(ask.key) : undefined;
      add("ok", 0, { answer: { reply: { is: "value", value } } });
      add("no answer", 1, { answer: { failure: "unavailable" } });
      return steps;
    }
    const told = (kind: Failure): Answer => ({ failure: kind });
    if (ask.verb === "get") {
      const value = now.body === undefined ? undefined : { bytes: now.body, etag: now.etag as string };
      add("ok", 0, { answer: { reply: { is: "value", value } } });
      add("no answer", 1, { answer: told("unavailable") });
      return steps;
    }
    if (ask.verb !== "put") throw new Error(`refs are not to be ${ask.verb}d`);
    if (!holds(ask, now.etag)) {
      add("412", 0, { answer: { reply: { is: "conflict", found: now.etag } } });
      add("no answer", 1, { answer: told("unavailable") });
      add("crash", 1, {});
      return steps;
    }
    this.put(ask, isMade(now) ? now.maker : client);
    add("applied", 0, {
      answer: { reply: { is: "etag", etag: this.put(ask).etag as string } },
      applies: true,
    });
    add("lost on the way", 1, { answer: told("unavailable") });
    add("applied, no reply", 1, { answer: told("unknown"), applies: true });
    add("applied, a copy of it answers 412", 1, { answer: told("conflict"), applies: true });
    add("409", 1, { answer: told("conflict") });
    add("full", 1, { answer: told("full") });
    add("stalled", 1, { answer: told("unavailable"), flies: true });
    add("crash before", 1, {});
    add("crash after", 1, { applies: true });
    add("crash, and it stalls", 1, { flies: true });
    return steps;
  }

  /** @param maker of the ref; needed the first time only */
  private put(call: PutCall, maker?: number): RefValue {
    const value =
      this.puts.get(call) ?? this.valueOf(call.key, call.bytes, etagOf(call.key, call.bytes), maker);
    this.puts.set(call, value);
    return value;
  }

  private swapped(state: State, call: PutCall): Map<string, RefValue> {
    if (state.refs.has(call.key)) return new Map(state.refs).set(call.key, this.put(call));
    const refs = [...state.refs, [call.key, this.put(call)] as const];
    return new Map(refs.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  private moved(
    state: State,
    change: Partial<Pick<State, "refs" | "nodes" | "dead" | "flying">>,
    step: string,
    cost: number,
  ): State {
    const next: State = { ...state, ...change, faults: state.faults + cost, parent: state, step };
    // A request whose tag has passed can't take effect any more: bodies, and so tags, never come back.
    next.flying = next.flying
      .filter(({ call }) => holds(call, next.refs.get(call.key)?.etag))
      .sort((a, b) => this.put(a.call).id - this.put(b.call).id);
    return next;
  }

  private keyOf({ refs, nodes, dead, flying, faults }: State): string {
    let key = `${faults}|${dead}`;
    for (const node of nodes) key += `,${node.id}`;
    for (const value of refs.values()) key += `.${value.id}`;
    for (const { call } of flying) key += `+${this.put(call).id}`;
    return key;
  }

  /** Whether the state is sound; what is not becomes a violation, and is not followed further. */
  private async check(state: State): Promise<boolean> {
    const found = await this.faultsOf(state);
    return found[0] === undefined || this.refuse(found[0], state);
  }

  /** Whether every ref that moved went one state on. */
  private async follows(from: State, to: State): Promise<boolean> {
    for (const [key, value] of to.refs) {
      const before = from.refs.get(key);
      if (before === value || !isMade(value)) continue;
      const now = await this.inspector.branch(value.body as Uint8Array);
      const missing = [...now.needs].find((each) => !this.isThere(to, each));
      if (missing !== undefined) return this.refuse(`${key} leads to ${missing}, which is not there yet`, to);
      if (before === undefined || !isMade(before)) continue;
      const old = await this.inspector.branch(before.body);
      if (now.seq === old.seq + 1 && now.parents.length === 1 && now.parents[0] === old.manifest) continue;
      return this.refuse(`${key} went from sequence ${old.seq} to ${now.seq}, which does not follow it`, to);
    }
    return true;
  }

  private refuse(message: string, state: State): false {
    this.result.violations.push({ message, trace: traceOf(state) });
    return false;
  }

  /** A Space without a registry has nothing deleted: no client of these scenarios deletes. */
  private isThere(state: State, key: string): boolean {
    if (key.startsWith("meta/")) return true;
    return this.baseKeys.has(key) || state.nodes.some((node) => node.puts.has(key));
  }

  private async faultsOf(state: State): Promise<string[]> {
    const main = state.refs.get("refs/main") as RefValue;
    const branch = await this.inspector.branch(main.body as Uint8Array);
    for (const node of state.nodes) {
      const missing = node.reads.find((key) => !this.isThere(state, key));
      if (missing !== undefined) return [`a client was led to ${missing}, which nobody has put`];
    }
    for (const [key, value] of state.refs) {
      if (!isMade(value)) continue;
      const now = value === main ? branch : await this.inspector.branch(value.body);
      if (now.faults.length > 0) return now.faults.map((fault) => `${key}: ${fault}`);
    }
    for (const [i, node] of state.nodes.entries()) {
      const memo = `${i} ${node.id} ${[...state.refs.values()].map((value) => value.id)}`;
      if (this.checked.has(memo)) continue;
      const own = state.refs.get(`refs/${this.scenario.clients[i]?.branch ?? "main"}`);
      const seen = own === undefined || !isMade(own) ? branch : await this.inspector.branch(own.body);
      const wrong = contradictions(node.outcomes, seen, (name) => {
        const ref = state.refs.get(`refs/${name}`);
        return ref !== undefined && isMade(ref) ? { isOwn: ref.maker === i } : undefined;
      });
      if (wrong.length > 0) return wrong.map((each) => `client ${i}: ${each}`);
      this.checked.add(memo);
    }
    return [];
  }

  /** Nobody has anything left to do. What is on its way may never arrive. */
  private async end(state: State): Promise<void> {
    this.result.ends++;
    this.result.schedules += state.ways;
    for (const [i, node] of state.nodes.entries()) {
      for (const outcome of node.outcomes) {
        if (outcome.committed !== "unknown" || outcome.opId === undefined) continue;
        const main = state.refs.get("refs/main") as RefValue;
        const memo = `${outcome.opId} ${main.id}`;
        if (this.checked.has(memo)) continue;
        this.checked.add(memo);
        const world = new World(this.pool);
        for (const value of state.refs.values())
          world.apply({ verb: "put", key: value.key, bytes: value.body as Uint8Array });
        for (const wrong of await resolvable(world, outcome))
          this.result.violations.push({ message: `client ${i}: ${wrong}`, trace: traceOf(state) });
      }
    }
  }
}

/** Not so long as its name is only reserved. */
function isMade(value: RefValue): value is RefValue & { body: Uint8Array } {
  return value.body !== undefined && !isReserved(value.body);
}

function holds(call: PutCall, etag: string | undefined): boolean {
  if (call.condition === undefined) return true;
  return "create" in call.condition ? etag === undefined : etag === call.condition.ifMatch;
}

function traceOf(state: State): string[] {
  const trace: string[] = [];
  for (let at: State | undefined = state; at?.parent !== undefined; at = at.parent) trace.unshift(at.step);
  return trace;
}
