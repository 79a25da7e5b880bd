// The drawn picture as JPEGs, where a browser or the server has no H.264. The tube in it is the stream's own.

/** Milliseconds to the next attempt after one that failed. */
const WAIT = 2000;

export class Mjpeg {
  readonly image: HTMLImageElement;
  private readonly url: string;
  private timer = 0;
  private playing = false;

  constructor(stream: string) {
    this.url = new URL(`streams/${encodeURIComponent(stream)}.mjpeg`, document.baseURI).href;
    this.image = document.createElement("img");
    this.image.alt = "";
    this.image.onerror = () => this.again();
    document.addEventListener("visibilitychange", this.seen);
  }

  play(): void {
    this.playing = true;
    this.seen();
  }

  /** Ends the connection. The last picture stays. */
  pause(): void {
    this.playing = false;
    this.seen();
  }

  close(): void {
    document.removeEventListener("visibilitychange", this.seen);
    this.playing = false;
    clearTimeout(this.timer);
    this.image.removeAttribute("src");
  }

  /** A page that is hidden asks for nothing. */
  private readonly seen = (): void => {
    clearTimeout(this.timer);
    // An image that is asked for the same address again may show what it had.
    if (this.playing && !document.hidden) this.image.src = `${this.url}?${Date.now()}`;
    else this.still();
  };

  private again(): void {
    clearTimeout(this.timer);
    if (this.playing) this.timer = setTimeout(this.seen, WAIT);
  }

  private still(): void {
    const { image } = this;
    if (!image.naturalWidth) return;
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    canvas.getContext("2d")?.drawImage(image, 0, 0);
    image.src = canvas.toDataURL("image/jpeg", 0.9);
  }
}
