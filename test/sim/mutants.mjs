/**
 * Faults to plant, each by changing the text of one source file on its way into the explorer's bundle, and the options of
 * the explorer that catch it; without `by`, all interleavings of two writers with one fault.
 */
export const MUTANTS = {
  "blind retry": {
    why: "a lost reply is taken for a lost race: the operation is published again on the new tip",
    file: "src/dataset/commit.ts",
    changes: [
      ["if (unknown !== undefined && tip.etag === etag) throw", "if (false) throw"],
      ["if (equalBytes(seen.ref.writeId, ref.writeId)) return { own: seen, tip: seen };", ""],
      ["if (own !== undefined) return { own, tip: seen };", ""],
    ],
  },
  "skipped read-back": {
    why: "a lost reply is reported as a failure",
    file: "src/dataset/commit.ts",
    changes: [
      [
        'if (!isDreamDBError(error, "Conflict")) unknown = error;',
        'if (!isDreamDBError(error, "Conflict")) throw new DreamDBError("StoreUnavailable", "lost", { committed: "no" });',
      ],
    ],
  },
  "not known by its operation": {
    why: "after a lost reply the writer looks for its own write in the ref alone, not in the history below it",
    file: "src/dataset/commit.ts",
    changes: [["if (own !== undefined) return { own, tip: seen };", ""]],
  },
  "the same tag decides": {
    why: "a ref that has not moved is taken for a request that failed, though it may still arrive",
    file: "src/dataset/commit.ts",
    changes: [
      [
        "if (unknown !== undefined && tip.etag === etag) throw commitUnknown(name, opId, unknown);",
        'if (unknown !== undefined && tip.etag === etag) throw new DreamDBError("StoreUnavailable", "lost", { committed: "no" });',
      ],
    ],
  },
  "ref before objects": {
    why: "the ref is moved before what it leads to is stored",
    file: "src/dataset/commit.ts",
    changes: [
      ["    await storeObjects(ctx, draft.objects);\n    await storeObjects(ctx, made);\n", ""],
      [
        "    if (swapped.etag !== undefined) {\n",
        "    if (swapped.etag !== undefined) {\n      await storeObjects(ctx, draft.objects);\n      await storeObjects(ctx, made);\n",
      ],
    ],
  },
  "data after the ref": {
    why: "an append's columns are stored once it is published",
    file: "src/dataset/append.ts",
    changes: [
      ["      await uploads.add(dataObjects(batch));\n", "      uploads.late = dataObjects(batch);\n"],
      [
        "  const { own } = published;\n",
        "  await ready.uploads.add(ready.uploads.late);\n  await ready.uploads.finish();\n  const { own } = published;\n",
      ],
    ],
  },
  "ref without waiting": {
    why: "an append is published while some of its columns are still on their way",
    file: "src/dataset/append.ts",
    changes: [
      ["  await ready.uploads.finish();\n  adopt(", "  adopt("],
      ["  const { own } = published;\n", "  await ready.uploads.finish();\n  const { own } = published;\n"],
    ],
    by: ["--only", "random", "--seed", "1"],
  },
  "one writeId for all": {
    why: "writes of refs are not told apart",
    file: "src/dataset/tip.ts",
    changes: [["    writeId: ctx.random(16),\n", "    writeId: new Uint8Array(16),\n"]],
  },
  "412 ignored": {
    why: "a swap that was refused is taken for done",
    file: "src/dataset/commit.ts",
    changes: [
      [
        'if (!isDreamDBError(error, "Conflict")) unknown = error;',
        'if (!isDreamDBError(error, "Conflict")) unknown = error;\n    else return { etag };',
      ],
    ],
  },
  "no condition": {
    why: "the ref is put without If-Match",
    file: "src/dataset/commit.ts",
    changes: [["encodeRef(ref), { ifMatch: etag })", "encodeRef(ref))"]],
  },
  "rebased on nothing": {
    why: "after a lost race the old draft is published again on the new tag",
    file: "src/dataset/commit.ts",
    changes: [["const draft = await operation.draft(current);", "const draft = await operation.draft(tip);"]],
  },
  "anchors of the last draft": {
    why: "the anchors told are those of the last attempt, not of the one that took effect",
    file: "src/dataset/append.ts",
    changes: [
      [
        "basesOf(own.manifest, prepared), origin);\n  return { tip: published.tip",
        "bases, origin);\n  return { tip: published.tip",
      ],
    ],
  },
  "look fails, not in": {
    why: "when the history can't be read after a lost reply, the operation is said to have failed",
    file: "src/dataset/commit.ts",
    changes: [
      [
        "return await findOperation(session, seen, opIds, startSeq);\n  } catch (error) {",
        "return await findOperation(session, seen, opIds, startSeq);\n  } catch (error) {\n    throw error;",
      ],
    ],
    by: ["--only", "interleave", "--scenario", "2 reading", "--faults", "2"],
  },
  "not looked for after a wait": {
    why: "an operation that is resumed is not looked for in what came while its writer waited for its turn",
    file: "src/dataset/commit.ts",
    changes: [["if (operation.isResumed === true) {", "if (false) {"]],
    by: ["--only", "interleave", "--scenario", "2 twice", "--faults", "1"],
  },
  "creation by writeId alone": {
    why: "a new dataset that another writer has appended to is taken for another's",
    file: "src/dataset/create-ref.ts",
    changes: [[" || isOwnBranch(now, ref, state)", ""]],
    by: ["--only", "interleave", "--scenario", "new dataset", "--faults", "1"],
  },
  "creation replaces": {
    why: "a ref is created without If-None-Match",
    file: "src/dataset/create-ref.ts",
    changes: [["encodeRef(reserved), { create: true })", "encodeRef(reserved))"]],
    by: ["--only", "interleave", "--scenario", "new dataset", "--faults", "1"],
  },
  "anchors by the clock": {
    why: "automatic anchors follow the clock, also when it goes back",
    file: "src/dataset/anchors.ts",
    changes: [["max(now, autoHigh, 0n)", "max(now, 0n)"]],
    by: ["--only", "interleave", "--scenario", "2 twice", "--faults", "0"],
  },
  "late rows forgotten": {
    why: "a rebuild leaves out the rows that came while it ran",
    file: "src/dataset/rebuild.ts",
    changes: [["if (timeline !== covered) {", "if (false) {"]],
    by: ["--only", "interleave", "--scenario", "rebuild", "--faults", "0"],
  },
  "unchecked bytes": {
    why: "bodies are not held against their address",
    file: "src/dataset/session.ts",
    changes: [
      [
        "const bytes = await this.verified(address, undefined, (found) => checkHash(found, digest, address));",
        "const bytes = await this.read(address, undefined);",
      ],
    ],
    by: ["--only", "crash", "--verb", "snapshot"],
  },
  "condition dropped on the way": {
    why: "the backend ignores If-Match",
    file: "test/sim/interleave.ts",
    changes: [["    if (!holds(ask, now.etag)) {", "    if (false) {"]],
  },
  "gc: no fence": {
    why: "refs are not rewritten, so that who read one before objects were condemned may still move it",
    file: "src/dataset/gc.ts",
    changes: [
      [
        "if (epoch === undefined || ref.gcEpoch >= epoch || !isMovable) return ref;",
        "if (isMovable || !isMovable) return ref;",
      ],
    ],
    by: ["--only", "collect", "--scenario", "writer", "--faults", "0"],
  },
  "gc: age alone": {
    why: "what was condemned is deleted once it is old enough, whoever has come to use it",
    file: "src/dataset/gc.ts",
    changes: [["!marker.live.has(address) && !spared.has(address)", "address !== ''"]],
    by: ["--only", "collect", "--scenario", "writer", "--faults", "0"],
  },
  "gc: no second look": {
    why: "what is reached by then is not marked again before it is deleted",
    file: "src/dataset/gc.ts",
    changes: [["!marker.live.has(address) && !spared.has(address)", "!spared.has(address)"]],
    by: ["--only", "collect", "--scenario", "writer", "--faults", "0"],
  },
  "gc: writers take nothing off the list": {
    why: "an append stores what is condemned already, and relies on it",
    file: "src/dataset/commit.ts",
    changes: [["    await hold(\n", "    if (current === undefined) await hold(\n"]],
    by: ["--only", "collect", "--scenario", "writer", "--faults", "0"],
  },
  "gc: taken off the list in vain": {
    why: "the collector does not heed what writers took off its list",
    file: "src/dataset/gc.ts",
    changes: [
      [
        "const spared = new Set([...now.spared, ...listsIn(state)]);",
        "const spared = new Set(listsIn(state));",
      ],
    ],
    by: ["--only", "collect", "--scenario", "writer", "--faults", "0"],
  },
  "gc: the list may change unseen": {
    why: "the cell is put without If-Match",
    file: "src/dataset/gc.ts",
    changes: [
      [
        "await this.store.put(GC_KEY, encodeGcState(next), condition);",
        "void condition;\n        await this.store.put(GC_KEY, encodeGcState(next));",
      ],
    ],
    by: ["--only", "collect", "--scenario", "writer", "--faults", "0"],
  },
  "gc: writers do not wait": {
    why: "what is being deleted is stored again while it is",
    file: "src/dataset/holding.ts",
    changes: [['if (state.round?.phase === "condemned") {', "if (state.round !== undefined) {"]],
    by: ["--only", "collect", "--scenario", "writer", "--faults", "0"],
  },
  "gc: what was lost is not looked for": {
    why: "objects that a collection deleted between their put and the commit are taken to be there",
    file: "src/dataset/holding.ts",
    changes: [["if (isOpen) await refuseLost(ctx);", "void isOpen;"]],
    by: ["--only", "collect", "--scenario", "writer", "--faults", "0"],
  },
  "gc: a branch does not look": {
    why: "whoever makes a branch does not ask for collections",
    file: "src/dataset/create-ref.ts",
    changes: [["await hold(ctx, epoch, fresh);", ""]],
    by: ["--only", "collect", "--scenario", "branch", "--faults", "0"],
  },
  "gc: a branch looks once": {
    why: "the epoch that a collector wrote into a name that is reserved is not heeded",
    file: "src/dataset/create-ref.ts",
    changes: [["epoch = now.ref.gcEpoch;", "void epoch;"]],
    by: ["--only", "collect", "--scenario", "snapshot", "--faults", "0"],
  },
  "gc: states are not marked": {
    why: "a state that was taken off the list stays without what it leads to",
    file: "src/dataset/gc.ts",
    changes: [["for (const named of now.states) await this.markHeld(named, marker, isSkeleton);", ""]],
    by: ["--only", "collect", "--scenario", "snapshot", "--faults", "0"],
  },
  "gc: a merge forgets its source": {
    why: "a merge relies on another ref to keep what it merges",
    file: "src/dataset/merge.ts",
    changes: [["ctx.holding.states.set(source.address, name);", ""]],
    by: ["--only", "collect", "--scenario", "fast-forward", "--faults", "0"],
  },
  "gc: a state is taken to be whole": {
    why: "whether a state has all that it leads to is not looked at, though a round has deleted since it was read",
    file: "src/dataset/holding.ts",
    changes: [["await refuseIncomplete(ctx.session, holding.states, state);", ""]],
    by: ["--only", "collect", "--scenario", "late merge", "--faults", "0"],
  },
  "gc: a ref that was deleted vouches": {
    why: "what a ref led to once is taken to be there",
    file: "src/dataset/complete.ts",
    changes: [["if (tip === undefined) return false;", "if (tip === undefined) return true;"]],
    by: ["--only", "collect", "--scenario", "late branch", "--faults", "0"],
  },
  "gc: what is about to be deleted counts": {
    why: "a state is taken to be whole while a part of it is on a list that is worked off",
    file: "src/dataset/complete.ts",
    changes: [["if (going.size > 0) throw gone(state);", "void going;"]],
    by: ["--only", "collect", "--scenario", "late snapshot", "--faults", "0"],
  },
  "gc: only what is listed is named": {
    why: "a state that is on no list is not named to a round that may yet delete what it leads to",
    file: "src/dataset/holding.ts",
    changes: [
      [
        'states: round.phase === "condemned" ? states.filter((address) => !named.has(address)) : [],',
        "states: states.filter((address) => condemned.has(address) && !named.has(address)),",
      ],
      [
        "const condemned = await listed(session, round.condemned, objects);",
        "const condemned = await listed(session, round.condemned, [...objects, ...states]);",
      ],
    ],
    by: ["--only", "collect", "--scenario", "late merge", "--faults", "0"],
  },
  "gc: a pin without its state": {
    why: "a pin that was never confirmed, of a state of which something is gone, ends collections",
    file: "src/dataset/gc.ts",
    changes: [['if (isDreamDBError(error, "NotFound")) return;\n      throw error;', "throw error;"]],
    by: ["--only", "collect", "--scenario", "late pin", "--faults", "0"],
  },
  "gc: a merge by address is trusted": {
    why: "a state that was read by its address, under no ref, is taken to be whole",
    file: "src/dataset/merge.ts",
    changes: [["if (isAddress(name)) ctx.holding.since = EVER;", ""]],
    by: ["--only", "collect", "--scenario", "merge by address", "--faults", "0"],
  },
  "gc: progress of a round is not seen": {
    why: "that a round has begun to delete is not heeded when another operation of the same object has learned of it",
    file: "src/dataset/holding.ts",
    changes: [["return since.etag !== undefined && since.etag !== etag;", "void etag;\n  return false;"]],
    by: ["--only", "collect", "--scenario", "merge beside a pin", "--faults", "0"],
  },
  "gc: pins forgotten": {
    why: "pins are no roots",
    file: "src/dataset/gc.ts",
    changes: [["if (pin.expires > now) roots.pins.push(pin.manifest);", "if (pin.expires > now) continue;"]],
    by: ["--only", "collect", "--scenario", "reader", "--faults", "0"],
  },
  "gc: registries forgotten": {
    why: "lists of deletions are no roots",
    file: "src/dataset/gc.ts",
    changes: [["await marker.tombstones(tombstones.map(({ address }) => address));", "void tombstones;"]],
    by: ["--only", "collect", "--scenario", "delete again", "--faults", "0"],
  },
  "gc: registries not fenced": {
    why: "a deletion that read the registry before its list was condemned may still enter it",
    file: "src/dataset/gc.ts",
    changes: [
      [
        "if (epoch === undefined || (registry.gcEpoch ?? -1) >= epoch) return registry;",
        "if (registry.seq >= 0) return registry;",
      ],
    ],
    by: ["--only", "collect", "--scenario", "delete again", "--faults", "0"],
  },
  "gc: pruned states not told": {
    why: "nobody learns that a state has lost its data",
    file: "src/dataset/gc.ts",
    changes: [["return this.stored([...all]);", "return state.pruned;"]],
    by: ["--only", "collect", "--scenario", "prune", "--faults", "0"],
  },
};
