// The overlay by WebGL 2, one fragment a pixel, and only where there is evidence.

import { spread } from "./geometry";
import type { Drawing, Painter, Source } from "./painter";
import { sizeOf } from "./painter";
import type { Palette } from "./palette";

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  gl_Position = vec4(4.0 * corner - 1.0, 0.0, 1.0);
}`;

// gl_FragCoord counts from below, pictures from above.
const COPY = `#version 300 es
precision highp float;
uniform highp sampler2D picture;
uniform int height;
out vec4 color;
void main() {
  color = vec4(texelFetch(picture, ivec2(int(gl_FragCoord.x), height - 1 - int(gl_FragCoord.y)), 0).rgb, 1.0);
}`;

// `rows` has evidence that is spread over the columns already: docs/kernels.md.
const TINT = `#version 300 es
precision highp float;
uniform highp sampler2D picture;
uniform highp sampler2D rows;
uniform highp sampler2D palette;
uniform int height;
uniform int left;
uniform int first;
uniform float bias;
uniform vec4 down;
uniform float last;
out vec4 color;

void main() {
  ivec2 pixel = ivec2(int(gl_FragCoord.x), height - 1 - int(gl_FragCoord.y));
  vec3 seen = texelFetch(picture, pixel, 0).rgb;
  float u = down.x * float(pixel.y) + down.y;
  float n = down.z;
  float position = clamp(u - 0.5, 0.0, n - 1.0) + floor(down.w / 2.0) * clamp(2.0 * u, 0.0, 1.0)
    + mod(down.w, 2.0) * clamp(2.0 * (u - n) + 1.0, 0.0, 1.0);
  float row = min(floor(position), last);
  int column = pixel.x - left;
  float above = texelFetch(rows, ivec2(column, int(row)), 0).r;
  float below = texelFetch(rows, ivec2(column, int(min(row + 1.0, last))), 0).r;
  int level = int(255.0 * clamp(above + (position - row) * (below - above), 0.0, 1.0) + bias);
  if (level >= first) {
    vec4 entry = texelFetch(palette, ivec2(level, 0), 0);
    seen = min(floor(entry.a * floor(255.0 * seen + 0.5) + entry.rgb), 255.0) / 255.0;
  }
  color = vec4(seen, 1.0);
}`;

/** Browsers take the oldest context away when there are more than 16. */
const MOST_CONTEXTS = 12;
let contexts = 0;

/** Null where there is no WebGL 2, or where there are as many as a browser has room for. onlyFast: also where the
 * processor plays the GPU, since a plain canvas is quicker then. */
export function webgl(canvas: HTMLCanvasElement, onlyFast = false): Painter | null {
  if (contexts >= MOST_CONTEXTS || (onlyFast && isSlow())) return null;
  // The buffer is kept, so that a snapshot of it can be taken at any time.
  const options = { alpha: false, antialias: false, depth: false, preserveDrawingBuffer: true };
  const gl = canvas.getContext("webgl2", options) as WebGL2RenderingContext | null;
  return gl && new WebGlPainter(canvas, gl);
}

let slow: boolean | null = null;

/** Whether the processor plays the GPU. */
function isSlow(): boolean {
  if (slow === null) {
    const options = { failIfMajorPerformanceCaveat: true };
    const gl = document.createElement("canvas").getContext("webgl2", options) as WebGL2RenderingContext | null;
    slow = !gl || isSoftware(gl);
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
  }
  return slow;
}

function isSoftware(gl: WebGL2RenderingContext): boolean {
  const facts = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(facts ? facts.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

class WebGlPainter implements Painter {
  readonly kind = "webgl";
  readonly wantsPixels: boolean;
  private readonly copy: WebGLProgram;
  private readonly tint: WebGLProgram;
  private readonly textures: readonly WebGLTexture[];
  private readonly places = new Map<string, WebGLUniformLocation | null>();
  private palette: Palette | null = null;
  /** size of the texture for pictures, where it stays */
  private made: readonly [number, number] = [0, 0];

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly gl: WebGL2RenderingContext,
  ) {
    this.copy = compile(gl, COPY);
    this.tint = compile(gl, TINT);
    for (const [unit, name] of ["picture", "rows", "palette"].entries()) {
      for (const program of [this.copy, this.tint]) {
        gl.useProgram(program);
        gl.uniform1i(gl.getUniformLocation(program, name), unit);
      }
    }
    for (const name of ["height", "left", "first", "bias", "down", "last"]) this.places.set(name, gl.getUniformLocation(this.tint, name));
    this.textures = [0, 1, 2].map((unit) => texture(gl, unit));
    contexts++;
    // The browser hands pictures over as they are shown, without colour conversion of its own.
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.wantsPixels = isSoftware(gl);
  }

  get lost(): boolean {
    return this.gl.isContextLost();
  }

  free(): void {
    contexts--;
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  draw(drawing: Drawing): void {
    const { gl } = this;
    const { width, height } = drawing;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    this.sendPicture(drawing.source);
    gl.useProgram(this.copy);
    gl.uniform1i(gl.getUniformLocation(this.copy, "height"), height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.enable(gl.SCISSOR_TEST);
    this.drawTube(drawing);
    if (drawing.outline) this.drawOutline(drawing.outline, width, height);
    gl.disable(gl.SCISSOR_TEST);
  }

  /** Draws where evidence is, and right of the divider: a pixel is raw where its centre is left of it. */
  private drawTube({ cells, width, height, palette, split }: Drawing): void {
    const { gl, places } = this;
    const made = cells && spread(cells, width, height, palette.least);
    if (!made) return;
    const left = Math.max(made.left, Math.ceil(split * width - 0.5));
    if (left >= made.right) return;
    this.send(1, gl.R32F, made.columns, made.rows, gl.RED, made.values);
    if (palette !== this.palette) this.send(2, gl.RGBA32F, 256, 1, gl.RGBA, palette.table);
    this.palette = palette;
    gl.useProgram(this.tint);
    gl.uniform1i(places.get("height")!, height);
    gl.uniform1i(places.get("left")!, made.left);
    gl.uniform1i(places.get("first")!, palette.first);
    gl.uniform1f(places.get("bias")!, palette.bias);
    const { scale, offset, cells: count, before, after } = made.down;
    gl.uniform4f(places.get("down")!, scale, offset, count, 2 * before + after);
    gl.uniform1f(places.get("last")!, made.rows - 1);
    gl.scissor(left, height - made.bottom, made.right - left, made.bottom - made.top);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** A light line with a dark one within. */
  private drawOutline(outline: readonly [number, number, number, number], width: number, height: number): void {
    const { gl } = this;
    const wide = Math.max(1, Math.floor(height / 360));
    const [left, right] = [outline[0], outline[2]].map((part) => Math.round(part * width));
    const [top, bottom] = [outline[1], outline[3]].map((part) => Math.round(part * height));
    for (const [level, inset] of [
      [0.92, 0],
      [0.1, wide],
    ]) {
      const [x, y, w, h] = [left + inset, height - bottom + inset, right - left - 2 * inset, bottom - top - 2 * inset];
      gl.clearColor(level, level, level, 1);
      for (const box of [
        [x, y, w, wide],
        [x, y + h - wide, w, wide],
        [x, y, wide, h],
        [x + w - wide, y, wide, h],
      ]) {
        if (box[2] <= 0 || box[3] <= 0) continue;
        gl.scissor(box[0], box[1], box[2], box[3]);
        gl.clear(gl.COLOR_BUFFER_BIT);
      }
    }
  }

  /** A GPU converts a picture where it lies, if a new texture is made of it. Where the processor plays the GPU, that takes
   * ten times as long as writing pixels into a texture that is there. */
  private sendPicture(source: Source): void {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.textures[0]);
    if (!this.wantsPixels) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, source);
      return;
    }
    const [width, height] = sizeOf(source);
    if (this.made[0] !== width || this.made[1] !== height) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
      this.made = [width, height];
    }
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, gl.RGBA, gl.UNSIGNED_BYTE, source);
  }

  private send(unit: number, kept: number, width: number, height: number, given: number, data: Float32Array): void {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, this.textures[unit]);
    gl.texImage2D(gl.TEXTURE_2D, 0, kept, width, height, 0, given, gl.FLOAT, data);
  }
}

function compile(gl: WebGL2RenderingContext, fragment: string): WebGLProgram {
  const program = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, fragment],
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
