/**
 * The page of the browser's parts, as a text: opens the model into each store with the built
 * library, answers, and tells the server what came of it. `/run?stores=…&mode=…&id=…`: what to do.
 */

/** Runs in the page. Uses nothing from outside it. */
async function main() {
  const query = new URLSearchParams(location.search);
  const report = (what) => fetch("/report", { method: "POST", body: JSON.stringify({ id: query.get("id"), ...what }) });
  try {
    const { createEngine } = await import("/lib/mixtab.js");
    if (query.get("mode") === "anew") await forget();
    const runs = query
      .get("stores")
      .split(",")
      .map((store) => run(createEngine, store, query.get("mode")));
    await report({ results: await Promise.all(runs) });
  } catch (error) {
    await report({ error: String(error?.stack ?? error) });
  }

  /** Deletes all that an earlier visit has stored. */
  async function forget() {
    await done(indexedDB.deleteDatabase("mixtab"));
    const root = await navigator.storage.getDirectory();
    await root.removeEntry("mixtab", { recursive: true }).catch(() => {}); // nothing is there at first
  }

  /** One visit: the answer, and what was said meanwhile. */
  async function run(createEngine, store, mode) {
    const damaged = mode === "damage" ? await damage(store) : 0;
    const warnings = [];
    let end = () => {};
    const filled = new Promise((resolve) => {
      end = resolve;
    });
    const onProgress = ({ phase, warning }) => {
      if (warning) warnings.push(warning);
      if (phase === "done" || /stopped/.test(warning ?? "")) end(phase);
    };
    // A query of its own, so that what is stored in one place locks nothing of the other.
    const url = `/model/?store=${store}`;
    const engine = await createEngine(url, {
      store,
      device: "cpu",
      quantize: false,
      budgetBytes: 60_000,
      contextLength: 64,
      onProgress,
    });
    const ask = async () => {
      const messages = [{ role: "user", content: "Hello!" }];
      const answer = await engine.chat.completions.create({ messages, temperature: 0, max_tokens: 4, stream: false });
      return answer.choices[0].message.content;
    };
    const answers = [await ask()];
    const phase = await filled;
    if (mode === "in mid-session") {
      await damage(store);
      answers.push(await ask());
    }
    await engine.close();
    return { store, answers, warnings, damaged, phase };
  }

  function done(request) {
    return new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }

  /** Flips a bit of each second record, or cuts it, and leaves hash and length as they are. */
  async function damage(store) {
    let count = 0;
    const spoilt = (bytes) => {
      const at = (count * 7919) % bytes.length;
      if (count++ % 2 === 0) return bytes;
      if (count % 3 === 0) return bytes.slice(0, at);
      bytes[at] ^= 1 << (count % 8);
      return bytes;
    };
    if (store === "opfs") {
      const root = await (
        await (await navigator.storage.getDirectory()).getDirectoryHandle("mixtab")
      ).getDirectoryHandle("records");
      const spoil = async (folder) => {
        for await (const [, handle] of folder.entries()) {
          if (handle.kind === "directory") {
            await spoil(handle);
            continue;
          }
          const bytes = spoilt(new Uint8Array(await (await handle.getFile()).arrayBuffer()));
          const stream = await handle.createWritable();
          await stream.write(bytes);
          await stream.close();
        }
      };
      await spoil(root);
      return count >> 1;
    }
    const database = await done(indexedDB.open("mixtab"));
    const records = () => database.transaction("records", "readwrite").objectStore("records");
    for (const key of await done(records().getAllKeys())) {
      const record = await done(records().get(key));
      const bytes = spoilt(new Uint8Array(await record.blob.arrayBuffer()));
      await done(records().put({ ...record, blob: new Blob([bytes]) }, key));
    }
    database.close();
    return count >> 1;
  }
}

export const PAGE = `<!doctype html><title>faults</title><script type="module">(${main})()</script>`;
