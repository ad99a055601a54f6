/** The chat page: the widget, and around it what it is doing. Query parameters set the widget's attributes: ?budget=64MB&temperature=0. */
import "../src/widget/index.ts";
import type { MixtabChat } from "../src/widget/index.ts";
import { BudgetChooser } from "./budget.ts";
import { showFacts } from "./facts.ts";
import { PoolPanel } from "./pool.ts";

const STORY_MODEL = "./models/storyteller-moe";
const ATTRIBUTES = ["model", "budget", "context-length", "device", "temperature", "max-tokens"];

const chat = document.querySelector<MixtabChat>("#chat")!;
const address = new URL(location.href);

const pool = new PoolPanel();
const budget = new BudgetChooser((value) => {
  chat.setAttribute("budget", value);
  address.searchParams.set("budget", value);
  history.replaceState(null, "", address);
});
document.querySelector("#budget")!.append(budget.root);
document.querySelector("#pool")!.append(pool.root);

chat.addEventListener("mixtab-ready", ({ detail: info }) => {
  budget.show(info);
  pool.begin(info);
  showFacts(document.querySelector("#facts")!, info);
});
chat.addEventListener("mixtab-stats", ({ detail: stats }) => pool.show(stats));

chat.setAttribute("model", STORY_MODEL);
for (const name of ATTRIBUTES) {
  const value = address.searchParams.get(name);
  if (value !== null) chat.setAttribute(name, value);
}
