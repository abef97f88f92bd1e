def test_x(target, new_model):
    import numpy as np
    print(target.outputs(x=np.float32([4])))
    m = new_model(); m.put(1); m.serve(); print(m.answer(), m.states())
def test_y(serve_here):
    import numpy as np
    t = serve_here()
    print(t.outputs(x=np.float32([4])))
