/**
 * Clients of the real library, all running at once, with every request of each held until the driver says which
 * arrives next and how it ends. The same choices give the same run, so a run is its list of choices.
 */
import { Dataset } from "../../src/dataset/dataset.ts";
import { type ClientPlan, type Outcome, readRows, runClient } from "./client.ts";
import { contradictions, Inspector, isReserved, resolvable } from "./inspect.ts";
import { type Call, clientStore, directStore, failure, isRef, type Reply, World } from "./world.ts";

/** How one request ends. What does not fit a request (a copy of a GET's 412) means "ok". */
export const ENDS = [
  "ok",
  /** Not carried out, and no answer. */
  "lost",
  /** Carried out, and no answer. */
  "no reply",
  /** Carried out, and the backend says that it can't tell. */
  "unknown",
  /** The deadline passes; the request goes on and may arrive at any later time, or never. */
  "stalled",
  /** Carried out, and a copy of it goes on. */
  "doubled",
  /** Carried out; the answer is that of a copy, which came second. */
  "copy answers",
  /** 409: not carried out. */
  "409",
  /** Not carried out: no room. */
  "full",
  /** A GET's body with one bit changed, or its end missing; a LIST as it was earlier. */
  "flipped",
  "cut",
  "stale",
  /** The client is gone: before the request, or after it, and its other requests under way with it, or just after them. */
  "crash before",
  "crash after",
  "crash, others arrive",
] as const;
export type End = (typeof ENDS)[number];

export interface Choice {
  /** The place among the requests that wait, oldest first, then those that stalled; taken modulo their number. */
  pick: number;
  end: End;
}

interface Waiting {
  client: number;
  call: Call;
  settle: (how: { reply: Reply } | { error: Error }) => void;
}

interface Client {
  plan: ClientPlan;
  outcomes: Outcome[];
  state: "running" | "ended" | "crashed";
}

/** A value that a ref had, with how many keys there were when it got it. */
interface RefMove {
  key: string;
  body: Uint8Array;
  before: Uint8Array | undefined;
  keys: number;
  client: number;
}

export class Schedule {
  readonly world: World;
  readonly clients: Client[];
  readonly steps: string[] = [];
  readonly choices: Choice[] = [];
  private readonly waiting: Waiting[] = [];
  private readonly flying: { client: number; call: Call }[] = [];
  private readonly moves: RefMove[] = [];
  private readonly crashes: unknown[] = [];

  constructor(base: World, plans: readonly ClientPlan[]) {
    this.world = new World(base);
    this.clients = plans.map((plan) => ({ plan, outcomes: [], state: "running" }));
    this.clients.forEach((client, i) => {
      const store = clientStore(
        (call) =>
          new Promise((resolve, reject) => {
            const settle = (how: { reply: Reply } | { error: Error }): void =>
              "reply" in how ? resolve(how.reply) : reject(how.error);
            this.waiting.push({ client: i, call, settle });
          }),
      );
      runClient(store, `client ${i}`, client.plan, client.outcomes).then(
        () => {
          if (client.state === "running") client.state = "ended";
        },
        (error) => {
          this.crashes.push(error);
          client.state = "ended";
        },
      );
    });
  }

  /** Requests that can be chosen now; 0 when all is over. Waits until every client waits for one, or has ended. */
  async ready(): Promise<number> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      this.drop();
      const isBusy = this.clients.some(
        (client, i) => client.state === "running" && !this.waiting.some((each) => each.client === i),
      );
      if (!isBusy) break;
    }
    if (this.waiting.length === 0) return 0;
    return this.waiting.length + this.flying.length;
  }

  /** What waits at a place, for drivers that look before they choose. */
  at(pick: number): { client: number; call: Call; isFlying: boolean } {
    const isFlying = pick >= this.waiting.length;
    const { client, call } = (
      isFlying ? this.flying[pick - this.waiting.length] : this.waiting[pick]
    ) as Waiting;
    return { client, call, isFlying };
  }

  take(choice: Choice): void {
    const pick = choice.pick % (this.waiting.length + this.flying.length);
    this.choices.push({ pick, end: choice.end });
    if (pick >= this.waiting.length) {
      const [{ client, call } = { client: 0, call: { verb: "list", key: "" } as Call }] = this.flying.splice(
        pick - this.waiting.length,
        1,
      );
      this.steps.push(`${client} ${call.verb} ${call.key} arrives late`);
      this.apply(client, call);
      return;
    }
    const [one] = this.waiting.splice(pick, 1) as [Waiting];
    this.steps.push(`${one.client} ${one.call.verb} ${one.call.key}: ${choice.end}`);
    this.finish(one, choice.end);
  }

  private finish({ client, call, settle }: Waiting, end: End): void {
    const isPut = call.verb === "put";
    const isConditional = isPut && call.condition !== undefined;
    switch (end) {
      case "lost":
        settle({ error: failure("unavailable", call) });
        return;
      case "no reply":
        this.apply(client, call);
        settle({ error: failure("unavailable", call) });
        return;
      case "unknown":
        this.apply(client, call);
        settle({ error: failure(isPut ? "unknown" : "unavailable", call) });
        return;
      case "stalled":
        if (isPut) this.flying.push({ client, call });
        settle({ error: failure("unavailable", call) });
        return;
      case "doubled":
        if (isPut) this.flying.push({ client, call });
        settle({ reply: this.apply(client, call) });
        return;
      case "copy answers":
        this.apply(client, call);
        settle({ reply: this.apply(client, call) });
        return;
      case "409":
        settle(isConditional ? { error: failure("conflict", call) } : { reply: this.apply(client, call) });
        return;
      case "full":
        settle(isPut ? { error: failure("full", call) } : { reply: this.apply(client, call) });
        return;
      case "flipped":
      case "cut":
        settle({ reply: damaged(this.apply(client, call), end, this.steps.length) });
        return;
      case "stale":
        settle({ reply: this.stale(client, call) });
        return;
      case "crash before":
      case "crash after":
      case "crash, others arrive":
        if (end !== "crash before") this.apply(client, call);
        this.crash(client, end === "crash, others arrive");
        return;
      default:
        settle({ reply: this.apply(client, call) });
    }
  }

  private apply(client: number, call: Call): Reply {
    const before = isRef(call.key) ? this.world.values.get(call.key)?.bytes : undefined;
    const reply = this.world.apply(call);
    if (isRef(call.key) && call.verb === "put" && reply.is === "etag")
      this.moves.push({ key: call.key, body: call.bytes, before, keys: this.world.born.length, client });
    return reply;
  }

  /** A LIST may always show less. A ref may be an older one only to a client that is said to read through a cache. */
  private stale(client: number, call: Call): Reply {
    if (call.verb === "list") {
      const known = (this.steps.length * 7) % (this.world.born.length + 1);
      return { is: "keys", keys: this.world.keys(call.key, known) };
    }
    const reader = this.clients[client] as Client;
    if (call.verb !== "get" || !isRef(call.key) || reader.plan.isReader !== true)
      return this.apply(client, call);
    const older = this.moves.filter((move) => move.key === call.key);
    const move = older[(this.steps.length * 5) % Math.max(1, older.length)];
    if (move === undefined) return this.apply(client, call);
    const view = new World();
    view.apply({ verb: "put", key: move.key, bytes: move.body });
    return view.apply(call);
  }

  private crash(client: number, othersArrive: boolean): void {
    (this.clients[client] as Client).state = "crashed";
    if (!othersArrive) return;
    for (const each of this.waiting) if (each.client === client) this.apply(client, each.call);
  }

  /** Requests of the crashed are nobody's. */
  private drop(): void {
    for (let i = this.waiting.length - 1; i >= 0; i--)
      if (this.clients[(this.waiting[i] as Waiting).client]?.state === "crashed") this.waiting.splice(i, 1);
  }

  /** What is wrong with how it went; empty when all is well. */
  async verdict(): Promise<string[]> {
    const found = this.crashes.map((error) => `the client itself failed: ${(error as Error).stack}`);
    const early = await this.judge();
    // What is on its way may arrive after everybody has gone.
    const late = this.flying.splice(0);
    for (const { client, call } of late) this.apply(client, call);
    if (late.length === 0) return [...found, ...early];
    return [...found, ...early, ...(await this.judge())];
  }

  private async judge(): Promise<string[]> {
    const found: string[] = [];
    const inspector = new Inspector(this.world);
    const bornAt = new Map(this.world.born.map((key, i) => [key, i]));
    const makers = new Map<string, number>();
    for (const { key, body, before, keys, client } of this.moves) {
      if (isReserved(body)) continue;
      if (!makers.has(key)) makers.set(key, client);
      const now = await inspector.branch(body);
      found.push(...now.faults.map((fault) => `${key}: ${fault}`));
      for (const need of now.needs)
        if ((bornAt.get(need) ?? Number.POSITIVE_INFINITY) >= keys) found.push(`${key} came before ${need}`);
      if (before === undefined || isReserved(before)) continue;
      const old = await inspector.branch(before);
      if (now.seq !== old.seq + 1 || now.parents[0] !== old.manifest)
        found.push(`${key} went from sequence ${old.seq} to ${now.seq}, which does not follow it`);
    }
    for (const [i, client] of this.clients.entries()) {
      const ref = this.world.values.get(`refs/${client.plan.branch ?? "main"}`);
      if (ref === undefined || isReserved(ref.bytes)) continue;
      const branch = await inspector.branch(ref.bytes);
      const wrong = contradictions(client.outcomes, branch, (name) =>
        makers.has(`refs/${name}`) ? { isOwn: makers.get(`refs/${name}`) === i } : undefined,
      );
      found.push(...wrong.map((each) => `client ${i}: ${each}`));
      for (const outcome of client.outcomes) {
        found.push(
          ...(await resolvable(this.world, outcome).catch(unusable)).map((each) => `client ${i}: ${each}`),
        );
        if (outcome.saw !== undefined)
          found.push(...(await this.misread(outcome).catch(unusable)).map((each) => `client ${i}: ${each}`));
      }
    }
    return found;
  }

  /** A read shows exactly the state it read. */
  private async misread({ op, saw }: Outcome): Promise<string[]> {
    if (saw === undefined) return [];
    const dataset = await Dataset.openAt(saw.manifest, directStore(this.world), { kernels: "scalar" });
    const rows = (await readRows(dataset)).filter(([, n]) => op.do === "read" || n % 4 !== 3);
    const isSame =
      rows.length === saw.rows.length &&
      rows.every(([anchor, n], i) => saw.rows[i]?.[0] === anchor && saw.rows[i]?.[1] === n);
    return isSame ? [] : [`a ${op.do} saw ${saw.rows.length} records of a state that has ${rows.length}`];
  }
}

function unusable(error: unknown): string[] {
  return [`can't be looked at: ${error instanceof Error ? error.message : String(error)}`];
}

function damaged(reply: Reply, end: "flipped" | "cut", salt: number): Reply {
  if (reply.is !== "value" || reply.value === undefined || reply.value.bytes.length === 0) return reply;
  const { bytes, etag } = reply.value;
  const at = (salt * 7919) % bytes.length;
  if (end === "cut") return { is: "value", value: { bytes: bytes.slice(0, at), etag } };
  const changed = bytes.slice();
  changed[at] = (changed[at] as number) ^ (1 << (salt & 7));
  return { is: "value", value: { bytes: changed, etag } };
}

/** Runs a schedule to its end. */
export async function play(
  base: World,
  plans: readonly ClientPlan[],
  choose: (schedule: Schedule, ready: number) => Choice,
): Promise<Schedule> {
  const schedule = new Schedule(base, plans);
  for (let ready = await schedule.ready(); ready > 0; ready = await schedule.ready())
    schedule.take(choose(schedule, ready));
  return schedule;
}
