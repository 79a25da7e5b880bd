// The explained video of one stream on a canvas: puts together the player, what is known of each frame, and the look.

import { canvas2d } from "./canvas2d";
import { COLORMAP_NAMES } from "./colormaps";
import type { Cells, Question } from "./evidence";
import { Scales, blend } from "./evidence";
import { Mjpeg } from "./mjpeg";
import type { Painter, Source } from "./painter";
import { sizeOf } from "./painter";
import type { Palette, Tint } from "./palette";
import { paletteOf } from "./palette";
import type { Placed } from "./placing";
import { centerOf, place } from "./placing";
import { whyNot } from "./mse";
import { Player } from "./player";
import type { FrameFacts, Hello, Part } from "./protocol";
import { showNormalize } from "./scale";
import { WebRtc } from "./rtc";
import type { Session } from "./session";
import type { Look } from "./state";
import type { Readable } from "./store";
import { Store } from "./store";
import { webgl } from "./webgl";

/** What the canvas shows at the moment. */
export interface ShownFrame {
  /** seconds from the stream's zero; index of the frame, or null if nothing is known of it */
  t: number;
  i: number | null;
  parts: readonly Part[];
  at: number;
  opacity: number;
  age: number;
  awaited: number;
  gap: boolean;
  damaged: boolean;
  /** class ids; null: what the stream explains */
  explain: number | null;
  against: number | null;
  /** whether there was evidence for that to draw */
  drawn: boolean;
}

export type StageKind = "starting" | "webgl" | "canvas2d" | "mjpeg";

export class Stage {
  /** the picture: a canvas, or an image where there is no H.264. UI puts it where it belongs. */
  readonly element: HTMLElement;
  readonly kind = new Store<StageKind>("starting");
  /** why pictures come as JPEGs, in words; "" if they do not */
  readonly why = new Store("");
  readonly shown = new Store<ShownFrame | null>(null);
  /** how the video comes, and why not by WebRTC if that was asked for, in words */
  readonly transport = new Store<{ by: "messages" | "webrtc"; why: string }>({ by: "messages", why: "" });
  readonly player: Player;
  private canvas: HTMLCanvasElement;
  private painter: Painter | null = null;
  private mjpeg: Mjpeg | null = null;
  private rtc: WebRtc | null = null;
  /** why WebRTC did not work when it was tried; "" if it was not, or works */
  private broken = "";
  /** media time of a frame of WebRTC of which nothing is known yet: the message about it may come after its picture */
  private early: number | null = null;
  /** pixels of the stream's pictures; what an encoder added to an odd size is not among them */
  private size: readonly [number, number] = [0, 0];
  private readonly scales = new Scales();
  private palette: { key: string; made: Palette } | null = null;
  private last = 0;
  private readonly ends: (() => void)[];

  constructor(
    readonly session: Session,
    private readonly look: Readable<Look>,
  ) {
    this.element = document.createElement("div");
    this.element.className = "stage";
    this.canvas = document.createElement("canvas");
    this.element.append(this.canvas);
    this.player = new Player(
      (t, source) => this.draw(t, source),
      (why) => (this.rtc ? this.breakRtc(why) : this.useJpegs(why)),
    );
    this.player.video.className = "source";
    this.player.video.ariaHidden = "true";
    this.player.video.tabIndex = -1;
    this.element.append(this.player.video);
    this.ends = [
      session.hello.watch((hello) => hello && this.greet(hello)),
      session.init.on((init) => {
        this.size = [init.width, init.height];
        const why = whyNot(init.codec);
        if (why) this.useJpegs(why);
        else this.player.addInit(init);
      }),
      session.noVideo.on((why) => this.useJpegs(why)),
      session.media.on((media) => this.player.addMedia(media)),
      session.frames.on(() => this.drawEarly()),
      session.windows.changed.on(() => this.measure()),
      look.watch(() => {
        this.measure();
        this.chooseTransport();
        if (!this.player.state.get().following) void this.redraw();
      }),
    ];
  }

  close(): void {
    for (const end of this.ends) end();
    this.rtc?.close();
    this.player.close();
    this.mjpeg?.close();
    this.painter?.free();
    this.element.remove();
  }

  /** Stands still. The past that was received can be stepped through; nothing more is asked for. */
  pause(): void {
    this.player.hold();
    this.rtc?.pause();
    this.mjpeg?.pause();
    this.session.want(false);
  }

  /** Follows the present again. */
  play(): void {
    this.session.want(true);
    this.mjpeg?.play();
    this.rtc?.play();
    this.player.follow();
  }

  /** Stands still at the frame `count` after the one that is shown, or before it. */
  async step(count: number): Promise<void> {
    const frame = this.session.windows.frameFrom(this.last, count);
    if (frame) await this.show(frame.t);
  }

  /** Stands still at the frame of a time, or at the nearest one that is still there. */
  async show(t: number): Promise<void> {
    if (this.rtc) {
      this.pause(); // nothing is kept of what came by WebRTC
      return;
    }
    this.session.want(false);
    const span = this.player.span;
    const wanted = span ? Math.min(Math.max(t, span[0]), span[1] - 0.001) : t;
    const frame = this.session.windows.frameFrom(wanted, 0);
    await this.player.show(frame?.t ?? wanted);
  }

  /** Draws the frame that is there once more, by the look as it is now. */
  redraw(): Promise<void> {
    return this.player.again();
  }

  /** The look with what the stream does where the viewer asks for nothing else. */
  tint(): Tint {
    const style = this.session.hello.get()?.style;
    const look = this.look.get();
    return {
      threshold: look.threshold ?? style?.threshold ?? 0.2,
      alpha: look.alpha ?? style?.alpha ?? 0.6,
      colormap: look.colormap ?? style?.colormap ?? COLORMAP_NAMES[0],
      soft: style?.soft ?? true,
      add: style?.add ?? false,
    };
  }

  private greet(hello: Hello): void {
    this.element.style.setProperty("--aspect", String((hello.width * hello.pixel_aspect) / hello.height));
    if (hello.video === "none") this.useJpegs(hello.why_no_video);
    else this.chooseTransport();
  }

  /** Begins or leaves WebRTC, as the look asks and as can be. */
  private chooseTransport(): void {
    const hello = this.session.hello.get();
    if (!hello || this.mjpeg) return;
    const { transport } = this.look.get();
    const why = this.whyNotRtc(hello);
    if (transport !== "webrtc") this.broken = "";
    if (transport !== "webrtc" || why) this.leaveRtc(transport === "webrtc" ? why : "");
    else if (!this.rtc) this.enterRtc(hello);
  }

  private whyNotRtc(hello: Hello): string {
    if (!hello.web_rtc) return "the server does not offer it";
    const isLater = this.look.get().sync === "aligned" && hello.sync === "live";
    return isLater ? "aligned evidence needs the picture later than WebRTC shows it" : this.broken;
  }

  private enterRtc(hello: Hello): void {
    this.size = [hello.width, hello.height];
    const near = (): number => this.session.windows.lastFrame?.t ?? 0;
    this.rtc = new WebRtc(this.session.name, this.player, near, (why) => this.breakRtc(why));
    this.transport.set({ by: "webrtc", why: "" });
    this.session.getVideo("webrtc");
    if (this.player.state.get().following) this.rtc.play();
  }

  private breakRtc(why: string): void {
    this.broken = why;
    this.leaveRtc(why);
  }

  /** Goes on over the WebSocket. why: in words; "" if nobody asked for WebRTC. */
  private leaveRtc(why: string): void {
    if (why !== this.transport.get().why || this.rtc) this.transport.set({ by: "messages", why });
    this.rtc?.close();
    this.rtc = null;
    this.session.getVideo("messages");
  }

  private useJpegs(why: string): void {
    if (this.mjpeg) return;
    this.why.set(why);
    this.mjpeg = new Mjpeg(this.session.name);
    this.canvas.replaceWith(this.mjpeg.image);
    this.mjpeg.play();
    this.kind.set("mjpeg");
    this.rtc?.close();
    this.rtc = null;
    this.session.getVideo("none");
  }

  private draw(t: number, source: Source): void {
    const hello = this.session.hello.get();
    const painter = this.ready();
    if (!hello || !painter) return;
    const frame = this.session.windows.frameAt(t);
    this.early = !frame && this.rtc ? t : null;
    if (this.early !== null) return;
    this.last = t;
    const placed = frame && this.place(frame, hello);
    const question = this.question(hello);
    const cells = placed && blend(placed.parts, placed.at, placed.opacity, this.session.windows, question, this.scales);
    const look = this.look.get();
    const [width, height] = visible(source, this.size);
    const outline = look.outline ? this.crop(cells) : null;
    painter.draw({ source, width, height, cells, palette: this.paletteNow(), split: look.split, outline });
    this.shown.set(shownOf(t, frame, placed, question, cells !== null));
  }

  private drawEarly(): void {
    if (this.early === null || !this.session.windows.frameAt(this.early)) return;
    this.early = null;
    void this.player.again();
  }

  private place(frame: FrameFacts, hello: Hello): Placed {
    const { windows, gaps } = this.session;
    return place(frame, windows.all, this.look.get().sync ?? hello.sync, hello, gaps);
  }

  private question(hello: Hello): Question {
    const look = this.look.get();
    const own = hello.style.normalize;
    const normalize = look.normalize ?? own;
    return {
      explain: look.explain,
      against: look.against,
      normalize,
      asServer: showNormalize(normalize) === showNormalize(own),
      smoothed: hello.sync === "live",
    };
  }

  private paletteNow(): Palette {
    const tint = this.tint();
    const key = JSON.stringify(tint);
    if (this.palette?.key !== key) this.palette = { key, made: paletteOf(tint) };
    return this.palette.made;
  }

  private crop(cells: Cells | null): readonly [number, number, number, number] | null {
    return cells?.crop ?? this.session.windows.newest?.crop ?? null;
  }

  /** A WebGL context that was lost is replaced: a canvas keeps the kind of its first context. */
  private ready(): Painter | null {
    if (this.painter?.lost) {
      const fresh = document.createElement("canvas");
      this.canvas.replaceWith(fresh);
      this.canvas = fresh;
      this.painter.free();
      this.painter = null;
    }
    if (!this.painter) {
      const forced = new URLSearchParams(location.search).get("painter");
      const isForced = forced === "webgl";
      this.painter = (forced === "canvas2d" ? null : webgl(this.canvas, !isForced)) ?? canvas2d(this.canvas);
      this.player.givesPixels = this.painter?.wantsPixels ?? false;
      if (this.painter) this.kind.set(this.painter.kind);
    }
    return this.painter;
  }

  /** In aligned mode a frame can be drawn when the windows that saw it are there: the picture has to wait so long. */
  private measure(): void {
    const hello = this.session.hello.get();
    if (!hello) return;
    const { newest, lastFrame, all } = this.session.windows;
    if ((this.look.get().sync ?? hello.sync) !== "aligned" || hello.sync === "aligned" || !newest || !lastFrame) {
      this.player.needs(0);
      return;
    }
    const before = all.at(-2) ?? newest;
    this.player.needs(((lastFrame.i - centerOf(before)) / (hello.rate ?? 25)) * 1.1 + 0.1);
  }
}

/** The size to draw at: the source's, in which pixels are square, without what an encoder added to an odd size. */
function visible(source: Source, [width, height]: readonly [number, number]): [number, number] {
  const shown = sizeOf(source);
  const even = (pixels: number): number => pixels + (pixels % 2);
  return [Math.round((shown[0] * width) / even(width)), Math.round((shown[1] * height) / even(height))];
}

function shownOf(t: number, frame: FrameFacts | null, placed: Placed | null, question: Question, drawn: boolean): ShownFrame {
  return {
    t,
    i: frame?.i ?? null,
    parts: placed?.parts ?? [],
    at: placed?.at ?? 0,
    opacity: placed?.opacity ?? 1,
    age: placed?.age ?? 0,
    awaited: frame?.awaited ?? 0,
    gap: frame?.gap ?? false,
    damaged: frame?.damaged ?? false,
    explain: question.explain,
    against: question.against,
    drawn,
  };
}
