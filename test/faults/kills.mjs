/** The browser's parts: kills while a model is stored or answers, and damage to what it stores. */
import { openStage } from "./browser.mjs";

export const STORES = ["indexeddb", "opfs"];
/** What the engine says of a record that cannot be read back. */
const TORN = /could not be read back|cannot be read/;

/** What is wrong with a visit that should end well; undefined where nothing is. */
function faultOf({ store, answers, warnings, phase }, right, mayFindDamage) {
  if (answers.some((answer) => answer !== right)) return `${store}: another answer: ${JSON.stringify(answers)}`;
  if (phase !== "done") return `${store}: the model does not finish loading: ${warnings.join(" ")}`;
  const torn = mayFindDamage ? undefined : warnings.find((warning) => TORN.test(warning));
  return torn && `${store}: a record was torn: ${torn}`;
}

/**
 * Kills the browser `kills` times, at moments that `next` (numbers in [0, 1)) draws from its first
 * request to a while after it is done, both stores being filled. Then opens it again: no record is
 * torn, the model finishes loading, and the answer is the undisturbed one.
 */
export async function killBrowser(files, kills, next) {
  const stage = await openStage(files);
  const wrong = [];
  try {
    await stage.visit(STORES); // makes the browser's profile
    const { opening, reported, kill } = stage.start(STORES, "anew");
    await opening;
    const began = performance.now();
    const calm = await reported;
    const wholeMs = performance.now() - began;
    await kill();
    const right = calm[0].answers[0];
    wrong.push(...calm.map((visit) => faultOf(visit, right, false)).filter(Boolean));
    for (let killed = 0; killed < kills; ) {
      // Some are killed again before they come to an end.
      for (let mode = "anew"; mode && killed < kills; mode = next() < 0.3 ? "visit" : "") {
        const visit = stage.start(STORES, mode);
        await Promise.race([visit.opening, visit.reported]);
        await new Promise((later) => setTimeout(later, next() * wholeMs * 1.1));
        await visit.kill();
        killed++;
      }
      const results = await stage
        .visit(STORES)
        .catch((error) => [{ store: "both", answers: [String(error)], warnings: [] }]);
      wrong.push(
        ...results
          .map((visit) => faultOf(visit, right, false))
          .filter(Boolean)
          .map((what) => `kill ${killed}: ${what}`),
      );
    }
    return { kills, wholeMs, wrong };
  } finally {
    await stage.close();
  }
}

/** Damages half of what both stores hold, at rest and in mid-session by turns. */
export async function damageBrowser(files, cases) {
  const stage = await openStage(files);
  const wrong = [];
  let noticed = 0;
  try {
    const [{ answers }] = await stage.visit(STORES);
    for (let index = 0; index < cases; index++)
      for (const visit of await stage.visit(STORES, index % 2 === 0 ? "damage" : "in mid-session")) {
        const fault = faultOf(visit, answers[0], true);
        if (fault) wrong.push(`case ${index}: ${fault}`);
        noticed += visit.warnings.filter((warning) => TORN.test(warning)).length;
      }
    return { cases, noticed, wrong };
  } finally {
    await stage.close();
  }
}
