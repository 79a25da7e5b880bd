// The drawn picture as JPEGs, where a browser or the server has no H.264. The tube in it is the stream's own.

export class Mjpeg {
  readonly image: HTMLImageElement;
  private readonly url: string;
  private timer = 0;

  constructor(stream: string) {
    this.url = new URL(`streams/${encodeURIComponent(stream)}.mjpeg`, document.baseURI).href;
    this.image = document.createElement("img");
    this.image.alt = "";
    this.image.onerror = () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.play(), 2000);
    };
  }

  play(): void {
    // An image that is asked for the same address again may show what it had.
    this.image.src = `${this.url}?${Date.now()}`;
  }

  /** Ends the connection; the last picture cannot be kept. */
  stop(): void {
    clearTimeout(this.timer);
    this.image.removeAttribute("src");
  }
}
