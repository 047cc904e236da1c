import { App } from "./app/app.js";
import { loop } from "./ui/loop.js";
import "./styles/index.css";

const root = document.getElementById("app");
if (!root) throw new Error("the page has no place for the program");
new App(root).start();
window.__console = { frames: () => loop.costs() };
performance.mark("usable");
