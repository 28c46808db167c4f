// Every text of the pages. Another language is one more file of the same shape, with its `-files`, `-mail` and `-system` beside it, and one more line here.

import { en } from "./en";

export type Texts = typeof en;
export const t: Texts = en;
export const locale = "en-GB";
