/**
 * The chat page: the widget, and around it panels that show what it is doing. Query parameters set
 * the widget's attributes: ?budget=64MB&temperature=0.
 */
import type { ModelInfo } from "../src/index.ts";
import "../src/widget/index.ts";
import type { MixtabChat } from "../src/widget/index.ts";
import { BudgetChooser } from "./budget.ts";
import { showFacts } from "./facts.ts";
import { PoolPanel } from "./pool.ts";

const STORY_MODEL = "./models/storyteller-moe";
const ATTRIBUTES = ["model", "budget", "context-length", "device", "temperature", "max-tokens"];
/**
 * The address is updated this long after the last change: dragging the slider sets many budgets,
 * and browsers refuse to change a page's address too often.
 */
const ADDRESS_AFTER_MS = 300;

const chat = document.querySelector<MixtabChat>("#chat")!;
const budgetPlace = document.querySelector("#budget")!;
const poolPlace = document.querySelector("#pool")!;
const factsPlace = document.querySelector("#facts")!;

const pool = new PoolPanel();
const budget = new BudgetChooser((value) => chat.setAttribute("budget", value));
budgetPlace.append(budget.root);
poolPlace.append(pool.root);

const show = (info: ModelInfo): void => {
  budget.show(info);
  pool.begin(info);
  showFacts(factsPlace, info);
};

chat.addEventListener("mixtab-ready", ({ detail: info }) => {
  for (const place of [budgetPlace, poolPlace]) place.parentElement!.hidden = info.experts === 0;
  show(info);
});
chat.addEventListener("mixtab-stats", ({ detail: stats }) => pool.show(stats));

let addressTimer: ReturnType<typeof setTimeout> | undefined;
chat.addEventListener("mixtab-budget", ({ detail: info }) => {
  show(info);
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => {
    const address = new URL(location.href);
    const value = chat.getAttribute("budget");
    if (value === null) address.searchParams.delete("budget");
    else address.searchParams.set("budget", value);
    history.replaceState(null, "", address);
  }, ADDRESS_AFTER_MS);
});

chat.setAttribute("model", STORY_MODEL);
const asked = new URL(location.href).searchParams;
for (const name of ATTRIBUTES) {
  const value = asked.get(name);
  if (value !== null) chat.setAttribute(name, value);
}
