// The overlay by WebGL 2: docs/kernels.md, one fragment a pixel.

import type { Axis } from "./geometry";
import { axisOf, ringed } from "./geometry";
import type { Drawing, Painter } from "./painter";
import type { Palette } from "./palette";

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  gl_Position = vec4(4.0 * corner - 1.0, 0.0, 1.0);
}`;

// gl_FragCoord counts from below, pictures from above.
const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
uniform sampler2D picture;
uniform sampler2D cells;
uniform sampler2D palette;
uniform ivec2 size;
uniform int first;
uniform float bias;
uniform float split;
uniform ivec4 inside;
uniform vec4 along;
uniform ivec2 counts;
uniform ivec4 ends;
uniform vec4 frame;
out vec4 color;

float at(float u, int count, ivec2 end) {
  float n = float(count);
  return clamp(u - 0.5, 0.0, n - 1.0)
    + float(end.x) * clamp(2.0 * u, 0.0, 1.0) + float(end.y) * clamp(2.0 * (u - n) + 1.0, 0.0, 1.0);
}

float evidence(ivec2 pixel) {
  float x = at(along.x * float(pixel.x) + along.y, counts.x, ends.xy);
  float y = at(along.z * float(pixel.y) + along.w, counts.y, ends.zw);
  ivec2 last = textureSize(cells, 0) - 1;
  ivec2 cell = min(ivec2(x, y), last);
  ivec2 next = min(cell + 1, last);
  vec2 part = vec2(x, y) - vec2(cell);
  float above = mix(texelFetch(cells, cell, 0).r, texelFetch(cells, ivec2(next.x, cell.y), 0).r, part.x);
  float below = mix(texelFetch(cells, ivec2(cell.x, next.y), 0).r, texelFetch(cells, next, 0).r, part.x);
  return mix(above, below, part.y);
}

void main() {
  ivec2 pixel = ivec2(int(gl_FragCoord.x), size.y - 1 - int(gl_FragCoord.y));
  vec3 seen = floor(255.0 * texelFetch(picture, pixel, 0).rgb + 0.5);
  bool raw = float(pixel.x) + 0.5 < split * float(size.x);
  bool within = pixel.x >= inside.x && pixel.x < inside.y && pixel.y >= inside.z && pixel.y < inside.w;
  if (within && !raw) {
    int level = int(floor(255.0 * clamp(evidence(pixel), 0.0, 1.0) + bias));
    if (level >= first) {
      vec4 entry = texelFetch(palette, ivec2(level, 0), 0);
      seen = clamp(floor(entry.a * seen + entry.rgb), 0.0, 255.0);
    }
  }
  if (frame.z > frame.x) {
    vec2 center = vec2(pixel) + 0.5;
    float wide = max(1.0, floor(float(size.y) / 360.0));
    vec2 out_of = max(frame.xy - center, center - frame.zw);
    float edge = max(out_of.x, out_of.y);
    if (edge <= 0.0 && edge > -wide) seen = vec3(235.0);
    else if (edge <= -wide && edge > -2.0 * wide) seen = floor(0.5 * seen);
  }
  color = vec4(seen / 255.0, 1.0);
}`;

const UNIFORMS = [
  ...["picture", "cells", "palette", "size", "first", "bias", "split", "inside", "along", "counts", "ends", "frame"],
] as const;

/** Browsers take the oldest context away when there are more than 16. */
const MOST_CONTEXTS = 12;
let contexts = 0;

/** Null where there is no WebGL 2, or where there are as many as a browser has room for. */
export function webgl(canvas: HTMLCanvasElement): Painter | null {
  if (contexts >= MOST_CONTEXTS) return null;
  // The buffer is kept, so that a snapshot of it can be taken at any time.
  const options = { alpha: false, antialias: false, depth: false, preserveDrawingBuffer: true, desynchronized: false };
  const gl = canvas.getContext("webgl2", options) as WebGL2RenderingContext | null;
  return gl && new WebGlPainter(canvas, gl);
}

class WebGlPainter implements Painter {
  readonly kind = "webgl";
  private readonly places: Record<(typeof UNIFORMS)[number], WebGLUniformLocation | null>;
  private readonly pictures: WebGLTexture;
  private readonly cells: WebGLTexture;
  private readonly palettes: WebGLTexture;
  private palette: Palette | null = null;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly gl: WebGL2RenderingContext,
  ) {
    const program = compile(gl);
    gl.useProgram(program);
    contexts++;
    this.places = Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)])) as typeof this.places;
    [this.pictures, this.cells, this.palettes] = [0, 1, 2].map((unit) => texture(gl, unit));
    ["picture", "cells", "palette"].forEach((name, unit) => gl.uniform1i(this.places[name as "picture"], unit));
    // The browser hands pictures over as they are shown, without colour conversion of its own.
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  }

  get lost(): boolean {
    return this.gl.isContextLost();
  }

  free(): void {
    contexts--;
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  draw(drawing: Drawing): void {
    const { gl, places } = this;
    const { width, height } = drawing;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.pictures);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, drawing.source);
    if (drawing.palette !== this.palette) this.send(2, this.palettes, gl.RGBA32F, 256, 1, gl.RGBA, drawing.palette.table);
    this.palette = drawing.palette;
    gl.uniform2i(places.size, width, height);
    gl.uniform1i(places.first, drawing.palette.first);
    gl.uniform1f(places.bias, drawing.palette.bias);
    gl.uniform1f(places.split, drawing.split);
    this.sendCells(drawing);
    const [left, top, right, bottom] = drawing.outline ?? [0, 0, 0, 0];
    gl.uniform4f(places.frame, left * width, top * height, right * width, bottom * height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  private sendCells({ cells, width, height }: Drawing): void {
    const { gl, places } = this;
    if (!cells) {
      gl.uniform4i(places.inside, 0, 0, 0, 0);
      return;
    }
    const [left, top, right, bottom] = cells.crop;
    const across: Axis = axisOf(cells.width, left, right, width);
    const down: Axis = axisOf(cells.height, top, bottom, height);
    const made = ringed(cells.values, down, across);
    this.send(1, this.cells, gl.R32F, made.width, made.height, gl.RED, made.values);
    gl.uniform4i(places.inside, across.first, across.end, down.first, down.end);
    gl.uniform4f(places.along, across.scale, across.offset, down.scale, down.offset);
    gl.uniform2i(places.counts, across.cells, down.cells);
    gl.uniform4i(places.ends, across.before, across.after, down.before, down.after);
  }

  private send(unit: number, to: WebGLTexture, kept: number, width: number, height: number, given: number, data: Float32Array): void {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, to);
    gl.texImage2D(gl.TEXTURE_2D, 0, kept, width, height, 0, given, gl.FLOAT, data);
  }
}

function compile(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ] as const) {
    const shader = gl.createShader(kind);
    if (!shader) break; // the context is lost
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`the overlay's program: ${gl.getProgramInfoLog(program)}`);
  }
  return program;
}

function texture(gl: WebGL2RenderingContext, unit: number): WebGLTexture {
  const made = gl.createTexture();
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, made);
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
  for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
  return made;
}
