// Draws what the page orders, on a thread of its own. However fast orders come, a picture is drawn once in a frame.

import type { Order } from "./orders.js";
import { Studio } from "./studio.js";

const studio = new Studio();
let isAsked = false;

addEventListener("message", ({ data }: MessageEvent<Order[]>) => {
  studio.take(data);
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    studio.paint();
  });
});

// The page gives no canvas away before it knows that here is somebody who can draw.
postMessage("requestAnimationFrame" in globalThis);
