// What tests ask of the page as it is shipped, piece by piece.

export * as canvas2d from "./canvas2d";
export * as colormaps from "./colormaps";
export * as evidence from "./evidence";
export * as geometry from "./geometry";
export * as pace from "./pace";
export * as palette from "./palette";
export * as placing from "./placing";
export * as protocol from "./protocol";
export * as scale from "./scale";
export * as state from "./state";
export * as webgl from "./webgl";
export * as windows from "./windows";
