import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { testConvolutions } from "../../support/convolved_model.ts";

testConvolutions(async () => cpuSpeaker());
